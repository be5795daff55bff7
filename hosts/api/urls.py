"""Addresses of the API that belong to hosts."""

from django.urls import path

from hosts.api import views
from hosts.models import HostState

urlpatterns = [
    path("hosts", views.Hosts.as_view()),
    path("hosts/<slug:host>", views.HostDetail.as_view()),
    path("hosts/<slug:host>/actions/cordon", views.HostStateChange.as_view(state=HostState.CORDONED)),
    path("hosts/<slug:host>/actions/uncordon", views.HostStateChange.as_view(state=HostState.ENABLED)),
    path("hosts/<slug:host>/actions/check", views.HostCheck.as_view()),
]
