"""A change that somebody looked at, and may still make."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.accounts.models import User
from portal.operations.models import Operation
from portal.tenancy.models import TenantOwned
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet


class Plan(TenantOwned):
    """What was asked (`action`, `target`, `body`), and what was answered (`told`, in JSON's types).

    It is its maker's alone, for it says what they may know. It can be applied once, until it expires.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    action = models.CharField(max_length=20)
    target = models.CharField(max_length=63, blank=True)
    body = models.JSONField()
    told = models.JSONField()
    expires_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True)
    operation = models.ForeignKey(Operation, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = TenantQuerySet.as_manager()
    read_permission: ClassVar[Permission] = Permission.QUOTA_READ

    class Meta:
        verbose_name = "plan"
        indexes = [models.Index(fields=["expires_at"], name="plan_by_expiry")]
