"""All addresses of the portal."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("accounts/", include("allauth.urls")),
    path("", include("portal.web.health_urls")),
    path("", include("portal.events.urls")),
    path("", include("vms.console.urls")),
]
