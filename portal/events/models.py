"""The append-only log of what happened: activity, audit and live updates all read it."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.db import models

from portal.accounts.models import ProviderRole
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet

THE_PROVIDER = "the provider"


class AppendOnly(TypeError):
    """Something tried to change or remove what happened. The database refuses it as well (`triggers`)."""


class EventQuerySet(TenantQuerySet["Event"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly("events are never changed")

    def delete(self) -> NoReturn:
        raise AppendOnly("events are never removed")


class Event(models.Model):
    """One thing that happened, written in the transaction that made it happen. `id` is the order of the log.

    `data` has `before` and `after`, the fields that changed by name, and facts. Who left stays in it by name and id.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=60)
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    target_type = models.CharField(max_length=20)
    target_id = models.UUIDField()
    target_name = models.CharField(max_length=100)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    actor = models.CharField(max_length=150)
    source = models.CharField(max_length=120)
    request_id = models.CharField(max_length=64, blank=True)
    operation_id = models.UUIDField(null=True)
    data = models.JSONField(default=dict)

    objects = EventQuerySet.as_manager()
    read_permission: ClassVar[Permission] = Permission.EVENT_READ

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="event_by_tenant"),
            models.Index(fields=["target_id", "-id"], name="event_by_target"),
            models.Index(fields=["at"], name="event_by_time"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("events are never changed")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("events are never removed")

    def source_for(self, *, for_provider: bool) -> str:
        """By what it was done. Tokens of the provider's staff have names that are nobody else's business.

        Read with `user`.
        """
        is_of_staff = self.user is not None and self.user.provider_role != ProviderRole.NONE
        return THE_PROVIDER if is_of_staff and self.source.startswith("token ") and not for_provider else self.source


class FeedHead(models.Model):
    """One row: the last place that was given. Whoever gives places locks it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)


class FeedEntry(models.Model):
    """An event's place in the feed, which programs follow. Written with the event, without a place (`feed_order`)."""

    event = models.OneToOneField(Event, primary_key=True, on_delete=models.PROTECT, related_name="feed_entry")
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    sequence = models.BigIntegerField(null=True, unique=True)

    objects = TenantQuerySet["FeedEntry"].as_manager()
    read_permission: ClassVar[Permission] = Permission.EVENT_READ

    class Meta:
        ordering = ["sequence"]
        indexes = [
            models.Index(fields=["tenant", "sequence"], name="feed_by_tenant"),
            models.Index(fields=["event"], condition=models.Q(sequence=None), name="feed_without_place"),
        ]
