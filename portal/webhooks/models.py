"""Where messages go, how far each of them is, and what was sent."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from portal.core.models import Row
from portal.events.models import Event
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet


class Webhook(Row):
    """One endpoint. `tenant` None is the provider's own: it hears of all tenants.

    `cursor` is the place in the feed up to which everything is done, `sent` that of the last message that was taken;
    both are written where the lease is held under `fence`. Secrets are derived and kept nowhere (`signing`).
    """

    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    url = models.CharField(max_length=2000)
    kinds = models.JSONField(default=list)  # kinds of events or the beginnings of some; none: all
    created_by = models.CharField(max_length=150)
    generation = models.PositiveIntegerField(default=1)  # of its secret
    previous_until = models.DateTimeField(null=True)  # that messages carry the signature of the one before as well
    cursor = models.BigIntegerField()
    sent = models.BigIntegerField()
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    next_at = models.DateTimeField(null=True)
    disabled_at = models.DateTimeField(null=True)
    disabled_for = models.CharField(max_length=300, blank=True)
    fence = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)

    objects = TenantQuerySet["Webhook"].as_manager()
    read_permission: ClassVar[Permission] = Permission.EVENT_READ  # who may not see them is told so

    class Meta:
        verbose_name = "webhook"
        ordering = ["created_at", "id"]
        indexes = [models.Index(fields=["tenant", "created_at", "id"], name="webhook_by_tenant")]

    @property
    def status(self) -> str:
        """active, failing, disabled"""
        if self.disabled_at is not None:
            return "disabled"
        return "failing" if self.failures else "active"


class DeliveryState(models.TextChoices):
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(Row):
    """What became of one event at one webhook: one row, however often it was sent. The newest ones are kept."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="+")
    sequence = models.BigIntegerField()
    previous = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=DeliveryState.choices)
    attempts = models.PositiveIntegerField(default=1)
    at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True)  # HTTP
    detail = models.CharField(max_length=300, blank=True)
    milliseconds = models.PositiveIntegerField()
    resend_asked_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "delivery"
        ordering = ["-sequence", "-id"]
        constraints = [models.UniqueConstraint(fields=["webhook", "event"], name="one_delivery_per_webhook_and_event")]
        indexes = [
            models.Index(fields=["webhook", "-sequence", "-id"], name="delivery_by_webhook"),
            models.Index(fields=["at"], name="delivery_by_time"),
            models.Index(fields=["webhook"], condition=~Q(resend_asked_at=None), name="delivery_to_send_again"),
        ]
