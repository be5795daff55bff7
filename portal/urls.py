"""All addresses of the portal."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from portal.web.styleguide import styleguide

# By the portal's own sign-in, with its limits.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns: list[URLPattern | URLResolver] = [
    path("accounts/", include("portal.accounts.urls")),
    path("", include("portal.web.health_urls")),
    path("", include("portal.events.urls")),
    path("", include("vms.console.urls")),
    path("api/v1/", include("vms.api.urls")),
    path("api/v1/", include("hosts.api.urls")),
    path("api/v1/", include("portal.api.urls")),
    path("", include("portal.web.urls")),
    path("", include("vms.web.urls")),
    path("", include("hosts.web.urls")),
    path("styleguide/", styleguide, name="styleguide"),
    path("django-admin/", admin.site.urls),
]

handler400 = "portal.web.errors.bad_request"
handler403 = "portal.web.errors.permission_denied"
handler404 = "portal.web.errors.page_not_found"
handler500 = "portal.web.errors.server_error"
