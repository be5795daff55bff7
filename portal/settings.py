"""All settings, from the environment; .env.example lists the variables."""

from __future__ import annotations

from pathlib import Path

from csp.constants import NONE, SELF

from portal.env import (
    BASE_DIR,
    DATA_DIR,
    broker_url,
    database,
    env,
    oidc_origins,
    oidc_providers,
    secret_key,
    whole_number,
)

DEBUG = env.bool("BERTH_DEBUG", default=False)
SECRET_KEY = secret_key()
ALLOWED_HOSTS = env.list("BERTH_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("BERTH_TRUSTED_ORIGINS", default=[])
PUBLIC_URL = env.str("BERTH_PUBLIC_URL", default=f"http://127.0.0.1:{env.int('BERTH_PORT', default=8000)}")
BEHIND_TLS = PUBLIC_URL.startswith("https://")

# What names this installation on a host that several may share.
INSTANCE = env.str("BERTH_INSTANCE", default="berth")
LIBVIRT_URI = env.str("BERTH_LIBVIRT_URI", default="qemu:///system")
POOL_PATH = env.str("BERTH_POOL_PATH", default=f"/var/lib/libvirt/images/{INSTANCE}")
FENCE_AGENTS = env.str(
    "BERTH_FENCE_AGENTS", default="/etc/berth/fence-agents"
)  # a directory of programs (hosts.fencing)
ALLOW_TCP = env.bool("BERTH_ALLOW_TCP", default=False)  # hosts by qemu+tcp, which asks nobody who they are
NETWORK_CANDIDATES = env.list("BERTH_NETWORKS", default=[f"10.{75 + i}.0.0/24" for i in range(8)])
IMAGE_DIR = DATA_DIR / "images"
IMAGE_CACHE_DAYS = env.int("BERTH_IMAGE_CACHE_DAYS", default=14)  # that a copy nobody uses stays in a host's pool
# Files from outside wait there until they are inspected: on the file system of the image store, into which they move.
INTAKE_DIR = DATA_DIR / "intake"
ACCESS_DIR = DATA_DIR / "access"  # keys of hosts, as files
INTAKE_RESERVE_BYTES = env.int("BERTH_INTAKE_RESERVE_GIB", default=2) * 1024**3  # that uploads leave free
IMAGE_MOST_BYTES = env.int("BERTH_IMAGE_MOST_GIB", default=20) * 1024**3  # of a file that is sent or fetched
IMAGE_MOST_DISK_BYTES = env.int("BERTH_IMAGE_MOST_DISK_GIB", default=2048) * 1024**3  # of the disk in it
UPLOAD_HOURS = env.int("BERTH_UPLOAD_HOURS", default=24)  # that an upload may rest
IMAGE_URL_HTTP = env.bool("BERTH_IMAGE_URL_HTTP", default=False)  # http:// as well as https://
WEBHOOK_URL_HTTP = env.bool("BERTH_WEBHOOK_URL_HTTP", default=False)  # http:// as well as https://
WEBHOOK_URL_ALLOW = env.list("BERTH_WEBHOOK_URL_ALLOW", default=[])  # ADDRESS:PORT of receivers that are not public
IMAGE_URL_ALLOW = env.list("BERTH_IMAGE_URL_ALLOW", default=[])  # ADDRESS:PORT of mirrors that are not public
CURRENCY = env.str("BERTH_CURRENCY", default="EUR")  # of charges in a time for which there are no prices
PROVIDER_NAME = env.str("BERTH_PROVIDER_NAME", default="Berth")  # who charges, in exports of charges
BIN_HOURS = whole_number("BERTH_BIN_HOURS", default=24, most=365 * 24)  # 0: what is deleted is gone at once
CONSOLE_IDLE_SECONDS = env.int("BERTH_CONSOLE_IDLE_SECONDS", default=1800)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "csp",
    "django_structlog",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "drf_standardized_errors",
    "rest_framework",
    "portal.core",
    "portal.accounts",
    "portal.tenancy",
    "portal.events",
    "portal.operations",
    "portal.webhooks",
    "portal.quotas",
    "portal.billing",
    "portal.api",
    "portal.web",
    "hosts",
    "vms",
]

MIDDLEWARE = [
    "portal.web.middleware.request_id_middleware",
    "portal.web.middleware.keep_out_of_caches",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "portal.web.middleware.DomainErrorMiddleware",
    "portal.web.once.OnceMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.web.context.shell",
            ],
            "builtins": ["portal.web.templatetags.berth"],
        },
    }
]

DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default=f"unix://{DATA_DIR / 'redis.sock'}")
CACHES = {
    "default": {
        "BACKEND": "portal.core.cache.ForgivingRedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 1},  # no page waits for a broker that hangs
    }
}

# -- Celery: the bell, never the truth (docs/architecture.md) ---------------------------------------------------------
CELERY_BROKER_URL = broker_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
# Acknowledged as it arrives, which is the default: the row is kept until the end, so the bell need not be, and a late
# acknowledgement to a broker that was lost would end the worker.
CELERY_TASK_PUBLISH_RETRY = False  # a request must not wait for a broker that is away; the reaper rings again
WORKER_PROCESSES = env.int("BERTH_WORKER_PROCESSES", default=4)  # of all workers together (operations.lanes)
CELERY_WORKER_CONCURRENCY = WORKER_PROCESSES + 1  # one more, which deliveries of webhooks may keep
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 12 * 3600,
    "socket_connect_timeout": 2,
    "socket_timeout": 3,  # longer than a worker's own waits of a second; nobody waits for a broker that hangs
    # for whoever rings the bell: one try; the worker's own reconnecting is another setting
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
CELERY_BEAT_SCHEDULE = {
    "reap-operations": {"task": "portal.operations.tasks.reap", "schedule": 5.0, "options": {"expires": 5}},
    "empty-bin": {"task": "vms.tasks.empty_bin", "schedule": 60.0, "options": {"expires": 60}},
    "recover-waiting": {"task": "vms.tasks.recover_waiting", "schedule": 15.0, "options": {"expires": 15}},
    "follow-budgets": {"task": "vms.tasks.follow_budgets", "schedule": 60.0, "options": {"expires": 60}},
    "follow-leases": {"task": "vms.tasks.follow_leases", "schedule": 60.0, "options": {"expires": 60}},
    "follow-tenants": {"task": "vms.tasks.follow_tenants", "schedule": 10.0, "options": {"expires": 10}},
    "look-at-schedules": {"task": "vms.tasks.look_at_schedules", "schedule": 20.0, "options": {"expires": 20}},
    "clear-up-snapshots": {"task": "vms.tasks.clear_up_snapshots", "schedule": 30.0, "options": {"expires": 30}},
    "evict-unused-images": {"task": "vms.tasks.evict_unused_images", "schedule": 3600.0, "options": {"expires": 3600}},
    "roll-up-usage": {"task": "vms.tasks.roll_up_usage", "schedule": 300.0, "options": {"expires": 300}},
    "tell-ended-increases": {"task": "portal.quotas.tasks.tell_ended_increases", "schedule": 60.0},
    "send-unsent-invitations": {
        "task": "portal.tenancy.tasks.send_unsent_invitations",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "forget-plans": {"task": "vms.tasks.forget_plans", "schedule": 600.0, "options": {"expires": 600}},
    "reap-uploads": {"task": "vms.tasks.reap_uploads", "schedule": 60.0, "options": {"expires": 60}},
    "deliver-webhooks": {"task": "portal.webhooks.tasks.deliver", "schedule": 2.0, "options": {"expires": 2}},
    "forget-deliveries": {"task": "portal.webhooks.tasks.forget_deliveries", "schedule": 3600.0},
    "forget-kept-answers": {"task": "portal.api.tasks.forget_kept_answers", "schedule": 3600.0},
}

# -- who is who -------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_FORMS = {"login": "portal.accounts.forms.SignInForm"}
ACCOUNT_ADAPTER = "portal.accounts.adapter.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = env.str("BERTH_EMAIL_VERIFICATION", default="optional")
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = True
# Few tries from one address; for one account far more, or anybody could lock its owner out.
ACCOUNT_RATE_LIMITS = {"login_failed": "10/5m/ip,100/h/key"}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
MFA_ADAPTER = "portal.accounts.factors.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # accounts that administrators make have no address
MFA_TOTP_ISSUER = "Berth"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not BEHIND_TLS
SOCIALACCOUNT_ADAPTER = "portal.accounts.adapter.ProviderAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = env.bool("BERTH_OIDC_TRUST_EMAIL", default=False)
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = SOCIALACCOUNT_EMAIL_AUTHENTICATION
SOCIALACCOUNT_PROVIDERS = oidc_providers()
OIDC_SIGNUP = env.bool("BERTH_OIDC_SIGNUP", default=False)  # accounts for whoever the provider knows

# -- mail: without a server it lies in files under the data directory -------------------------------------------------
globals().update(env.email_url("BERTH_EMAIL_URL", default=f"filemail:///{DATA_DIR / 'mail'}"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("BERTH_EMAIL_FROM", default="Berth <berth@localhost>")

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_NAME = "berth_session"
CSRF_COOKIE_NAME = "berth_csrf"
CSRF_FAILURE_VIEW = "portal.web.errors.csrf_failure"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # portal.limits holds bodies to twice that before Django reads them
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "base-uri": [NONE],
        "form-action": [SELF, *oidc_origins()],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}

# -- faces ------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.api.authentication.TokenAuthentication",
        "portal.api.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["portal.api.parsers.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "portal.api.pagination.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_standardized_errors.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "portal.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Berth API",
    "VERSION": "1",
    "DESCRIPTION": "Virtual machines by self-service. Long work answers 202 with an operation to follow.",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [],  # enums stay where they are used: their names would collide
}

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = False
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

DJANGO_STRUCTLOG_REQUEST_CANCELLED_LOG_LEVEL = 10  # DEBUG: leaving a page ends its live stream, which is nothing
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True  # request_id_middleware has put a harmless one there

from portal.logs import LOGGING  # noqa: E402, F401

if extra := env.str("BERTH_SETTINGS", default=""):  # the operator's own, such as LDAP and SAML (docs/admin.md)
    exec(compile(Path(extra).read_text(), extra, "exec"))  # noqa: S102
