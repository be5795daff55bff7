"""Hosts in Django's admin: to look at."""

from __future__ import annotations

from django.contrib import admin

from hosts.models import Host
from portal.web.admin import ReadOnly


@admin.register(Host)
class HostAdmin(ReadOnly):
    list_display = ("name", "uri", "state", "accelerator", "seen_at")
