"""The address of the live stream."""

from django.urls import path

from portal.events.stream import live

urlpatterns = [path("live/", live, name="live")]
