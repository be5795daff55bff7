"""Settings from the environment or `.env`, failing loudly where a value makes no sense."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DATA_DIR = Path(env.str("BERTH_DATA", default=str(BASE_DIR / "var"))).resolve()


def whole_number(name: str, *, default: int, most: int) -> int:
    """From 0 to `most`."""
    value = env.int(name, default=default)
    if not 0 <= value <= most:
        raise ImproperlyConfigured(f"{name} is {value}; use 0 to {most}")
    return int(value)


def secret_key() -> str:
    """BERTH_SECRET_KEY, or the key kept in the data directory; made on first use and readable by its owner only."""
    if key := env.str("BERTH_SECRET_KEY", default=""):
        return str(key)
    path = DATA_DIR / "secret-key"
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _make_secret_key(path)
    return path.read_text().strip()


def _make_secret_key(path: Path) -> None:
    """Whole under its name at once, or not at all; of several that make one at a time, the first one's counts."""
    from django.core.management.utils import get_random_secret_key

    descriptor, beside = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(get_random_secret_key())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)
    finally:
        Path(beside).unlink()


def database() -> dict[str, object]:
    """DATABASE_URL, or SQLite in the data directory.

    SQLite runs IMMEDIATE transactions on a rollback journal: deferred ones fail under contention, and WAL has a
    corruption bug with several writers before SQLite 3.51.3.
    """
    config: dict[str, object] = dict(env.db_url("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'berth.sqlite3'}"))
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20}
        return config
    config["CONN_HEALTH_CHECKS"] = True
    config["OPTIONS"] = {**dict(config.get("OPTIONS", {})), "pool": {"min_size": 1, "max_size": 16}}  # type: ignore[call-overload]
    return config


def broker_url(redis_url: str) -> str:
    """The same Redis in kombu's spelling, which knows unix sockets as `redis+socket://`."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def oidc_providers() -> dict[str, object]:
    """One OpenID Connect provider, by BERTH_OIDC_URL, _CLIENT_ID, _CLIENT_SECRET and _NAME; {} without an address."""
    url = env.str("BERTH_OIDC_URL", default="")
    if not url:
        return {}
    app = {
        "provider_id": "sso",
        "name": env.str("BERTH_OIDC_NAME", default="single sign-on"),
        "client_id": env.str("BERTH_OIDC_CLIENT_ID"),
        "secret": env.str("BERTH_OIDC_CLIENT_SECRET"),
        "settings": {"server_url": url},
    }
    return {"openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True}}


def oidc_origins() -> list[str]:
    """Where the sign-in form may lead, beside this site: browsers follow no form elsewhere."""
    url = urlsplit(env.str("BERTH_OIDC_URL", default=""))
    return [f"{url.scheme}://{url.netloc}"] if url.netloc else []
