"""Tickets for the console."""

from __future__ import annotations

from django.db import models

from portal.accounts.models import ApiToken, User
from portal.core.models import Row
from vms.models.vm import VM


class ConsoleTicket(Row):
    """The right to open one console of one machine once, within 30 seconds; only its hash is kept.

    `token` is the one that asked for it, where it was not a browser: the right ends with it.
    """

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    token = models.ForeignKey(ApiToken, null=True, on_delete=models.CASCADE, related_name="+")
    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=8, choices=[("display", "Display"), ("serial", "Serial")])
    session_key = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
