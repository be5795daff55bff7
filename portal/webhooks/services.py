"""What people do with webhooks. Each change raises the fence, so a delivery under way knows that it is outdated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.core.outbound.addresses import Policy, target_of
from portal.core.outbound.refusal import Refused
from portal.events import feed_order, log
from portal.events.models import Event
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.webhooks import signing
from portal.webhooks.message import TEST
from portal.webhooks.models import Delivery, Webhook

MOST_PER_TENANT, MOST_KINDS = 20, 50
LONGEST_OVERLAP_HOURS = 7 * 24
_KIND = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_AT_ONCE: dict[str, Any] = {"failures": 0, "failing_since": None, "next_at": None}


@transaction.atomic
def create(
    *, actor: Actor, tenant: Tenant | None, url: str, name: str = "", kinds: Sequence[str] = ()
) -> tuple[Webhook, str]:
    """A webhook that hears of what happens from now on, and its secret. `tenant` None: the provider's, of all."""
    actor.require(Permission.WEBHOOK_WRITE, tenant.pk if tenant else None)
    _check_url(url)
    _refuse_too_many(tenant)
    here = feed_order.give_places()
    webhook = Webhook(tenant=tenant, url=url, kinds=_kinds(kinds), created_by=actor.label, cursor=here, sent=here)
    webhook.name = text.label(name or _server(url)[:100])
    webhook.save(force_insert=True)
    log.record("webhook.created", actor=actor, target=webhook, after=_told(webhook))
    return webhook, signing.secret(webhook)


@transaction.atomic
def change(*, actor: Actor, webhook: Webhook, **wanted: Any) -> Webhook:
    """`name`, `url`, `kinds`: what is left out stays as it is. A new address is tried at once."""
    _lock(actor, webhook)
    before = _told(webhook)
    if "url" in wanted:
        _check_url(wanted["url"])
        webhook.url = wanted["url"]
    if "name" in wanted:
        webhook.name = text.label(wanted["name"])
    if "kinds" in wanted:
        webhook.kinds = _kinds(wanted["kinds"])
    _write(webhook, name=webhook.name, url=webhook.url, kinds=webhook.kinds, next_at=None)
    log.record("webhook.changed", actor=actor, target=webhook, before=before, after=_told(webhook))
    return webhook


@transaction.atomic
def delete(*, actor: Actor, webhook: Webhook) -> None:
    """With its log. What was not sent stays in the log of events."""
    _lock(actor, webhook)
    Webhook.objects.unscoped("fetched through the gate").filter(pk=webhook.pk).delete()
    log.record("webhook.deleted", actor=actor, target=webhook, before=_told(webhook))


@transaction.atomic
def disable(*, actor: Actor, webhook: Webhook) -> Webhook:
    """Nothing is sent until it is enabled again, and then all that came meanwhile."""
    _lock(actor, webhook)
    if webhook.disabled_at is not None:
        raise Conflict("It is disabled already.", code="wrong_state")
    _write(webhook, disabled_at=timezone.now(), disabled_for=f"{actor.label} disabled it.")
    log.record("webhook.disabled", actor=actor, target=webhook)
    return webhook


@transaction.atomic
def enable(*, actor: Actor, webhook: Webhook) -> Webhook:
    """It goes on where it stopped."""
    _lock(actor, webhook)
    if webhook.disabled_at is None:
        raise Conflict("It is enabled already.", code="wrong_state")
    _write(webhook, disabled_at=None, disabled_for="", **_AT_ONCE)
    log.record("webhook.enabled", actor=actor, target=webhook)
    return webhook


@transaction.atomic
def rotate(*, actor: Actor, webhook: Webhook, overlap_hours: int = 24) -> tuple[Webhook, str]:
    """A new secret. For so many hours messages carry the signature of the old one as well; 0: it ends now."""
    if not 0 <= overlap_hours <= LONGEST_OVERLAP_HOURS:
        raise Invalid(f"Use 0 to {LONGEST_OVERLAP_HOURS} hours.", field="overlap_hours")
    _lock(actor, webhook)
    until = timezone.now() + timedelta(hours=overlap_hours)
    _write(webhook, generation=webhook.generation + 1, previous_until=until if overlap_hours else None)
    log.record("webhook.secret-rotated", actor=actor, target=webhook, after={"overlap_hours": overlap_hours})
    return webhook, signing.secret(webhook)


@transaction.atomic
def test(*, actor: Actor, webhook: Webhook) -> Event:
    """An event that this webhook gets whatever kinds it names, in its place behind what waits; tried at once."""
    _lock(actor, webhook)
    _refuse_disabled(webhook)
    _write(webhook, next_at=None)
    return log.record(TEST, actor=actor, target=webhook)


@transaction.atomic
def replay(*, actor: Actor, webhook: Webhook, after: int) -> Webhook:
    """Send everything behind that place of the feed again, in order. 0 is the beginning; ahead of it, to pass over."""
    _lock(actor, webhook)
    end = feed_order.give_places()
    if not 0 <= after <= end:
        raise Invalid(f"Use a sequence from 0 to {end}.", field="after")
    before = {"sequence": webhook.cursor}
    _write(webhook, cursor=after, sent=after, **_AT_ONCE)
    log.record("webhook.replayed", actor=actor, target=webhook, before=before, after={"sequence": after})
    return webhook


@transaction.atomic
def resend(*, actor: Actor, webhook: Webhook, delivery: Delivery) -> Delivery:
    """One message once more, out of its turn, with the id it had."""
    _lock(actor, webhook)
    _refuse_disabled(webhook)
    delivery.resend_asked_at = timezone.now()
    delivery.save(update_fields=["resend_asked_at"])
    log.record("webhook.resend-asked", actor=actor, target=webhook, sequence=delivery.sequence)
    return delivery


def _lock(actor: Actor, webhook: Webhook) -> None:
    actor.require(Permission.WEBHOOK_WRITE, webhook.tenant_id)
    rows = Webhook.objects.unscoped("fetched through the gate").select_for_update(of=("self",))
    webhook.refresh_from_db(from_queryset=rows)


def _write(webhook: Webhook, **values: Any) -> None:
    rows = Webhook.objects.unscoped("fetched through the gate").filter(pk=webhook.pk)
    rows.update(fence=F("fence") + 1, lease_until=None, **values)
    webhook.refresh_from_db(from_queryset=rows)


def _refuse_disabled(webhook: Webhook) -> None:
    if webhook.disabled_at is not None:
        raise Conflict("It is disabled; enable it first.", code="wrong_state")


def _refuse_too_many(tenant: Tenant | None) -> None:
    if Webhook.objects.unscoped("count of a tenant's").filter(tenant=tenant).count() >= MOST_PER_TENANT:
        raise Conflict(f"There are {MOST_PER_TENANT} webhooks already; delete one first.", code="too_many_webhooks")


def _check_url(url: str) -> None:
    try:
        target_of(url, Policy(http=settings.WEBHOOK_URL_HTTP, allowed=frozenset(settings.WEBHOOK_URL_ALLOW)))
    except Refused as refusal:
        raise Invalid(refusal.detail, code=refusal.code, field="url") from refusal


def _kinds(kinds: Sequence[str]) -> list[str]:
    if len(kinds) > MOST_KINDS:
        raise Invalid(f"Name up to {MOST_KINDS} kinds.", field="kinds")
    for kind in kinds:
        if len(kind) > 60 or not _KIND.fullmatch(kind):
            raise Invalid("Use kinds such as vm.renamed, or the beginning of some: vm.", field="kinds")
    return sorted(set(kinds))


def _server(url: str) -> str:
    return urlsplit(url).hostname or ""


def _told(webhook: Webhook) -> dict[str, Any]:
    """An address may have a secret in its path or query, so the log has its server alone."""
    return {"name": webhook.name, "server": _server(webhook.url), "kinds": webhook.kinds}
