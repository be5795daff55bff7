"""Asking for more: a tenant's request, the administrator's answer, and the rule that answers by itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.quotas import consequences, grants
from portal.quotas.models import RESOURCES, ApprovalRule, IncreaseRequest, Quota, RequestState
from portal.quotas.services import MOST, set_limits
from portal.tenancy import gate
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

LONGEST = timedelta(days=366)
RULE = "rule"


def requests(actor: Actor, *, tenant: Tenant | None = None, state: str = "") -> QuerySet[IncreaseRequest]:
    """Newest first."""
    rows = IncreaseRequest.objects.for_actor(actor).select_related("tenant")
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    return rows.filter(state=state) if state else rows


def request(actor: Actor, id: UUID | str, permission: Permission = Permission.QUOTA_READ) -> IncreaseRequest:
    return gate.get(IncreaseRequest, actor, permission, id, related=("tenant",))


def waiting(actor: Actor) -> int:
    """How many wait for an administrator."""
    return requests(actor, state=RequestState.PENDING).count() if actor.can(Permission.QUOTA_WRITE) else 0


def rule() -> ApprovalRule:
    return ApprovalRule.objects.first() or ApprovalRule()


@transaction.atomic
def ask(
    *, actor: Actor, tenant: Tenant, wanted: Mapping[str, int], reason: str, ends_at: datetime | None = None
) -> IncreaseRequest:
    """Ask for limits above those of now, for a time or for good. It may come back approved, by the rule.

    Raises Invalid at the field, or Conflict ("request_pending").
    """
    actor.require(Permission.QUOTA_REQUEST, tenant.pk)
    quota = Quota.objects.get(tenant=tenant)
    _check(wanted, grants.limits_of(quota), ends_at)
    made = IncreaseRequest(
        tenant=tenant,
        wanted=dict(wanted),
        reason=text.label(reason, field="reason", longest=500),
        ends_at=ends_at,
        asked_by=actor.label,
    )
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError as error:
        words = "Another request waits for its answer; withdraw it first."
        raise Conflict(words, code="request_pending") from error
    log.record("quota.increase-asked", actor=actor, target=tenant, after=_facts(made))
    if _is_by_rule(made, quota):
        _grant(made, actor=SYSTEM, by=RULE, answer="")
    return made


@transaction.atomic
def approve(*, actor: Actor, asked: IncreaseRequest, answer: str = "") -> IncreaseRequest:
    """Raise the limits until the end that was asked for, or for good. Conflict where it was answered before."""
    actor.require(Permission.QUOTA_WRITE, asked.tenant_id)
    if asked.ends_at is not None and asked.ends_at <= timezone.now():
        raise Conflict("The time that was asked for is over.", code="request_over")
    return _grant(asked, actor=actor, by=actor.label, answer=answer)


@transaction.atomic
def refuse(*, actor: Actor, asked: IncreaseRequest, answer: str = "") -> IncreaseRequest:
    """Nothing changes; `answer` says why."""
    actor.require(Permission.QUOTA_WRITE, asked.tenant_id)
    _settle(asked, RequestState.REFUSED, by=actor.label, answer=answer)
    log.record("quota.increase-refused", actor=actor, target=asked.tenant, after=_facts(asked))
    return asked


@transaction.atomic
def withdraw(*, actor: Actor, asked: IncreaseRequest) -> IncreaseRequest:
    """Nobody need answer any more."""
    actor.require(Permission.QUOTA_REQUEST, asked.tenant_id)
    _settle(asked, RequestState.WITHDRAWN, by=actor.label)
    log.record("quota.increase-withdrawn", actor=actor, target=asked.tenant, after=_facts(asked))
    return asked


@transaction.atomic
def set_rule(*, actor: Actor, is_active: bool, percent: int, days: int) -> ApprovalRule:
    actor.require(Permission.QUOTA_WRITE)
    if not 1 <= percent <= 1000:
        raise Invalid("Use 1 to 1000 per cent.", field="percent")
    if not 1 <= days <= LONGEST.days:
        raise Invalid(f"Use 1 to {LONGEST.days} days.", field="days")
    values = {"is_active": is_active, "percent": percent, "days": days}
    changed, _ = ApprovalRule.objects.update_or_create(defaults=values)
    assert actor.user is not None
    log.record("quota.rule-changed", actor=actor, target=actor.user, after=values)
    return changed


@transaction.atomic
def tell_ends(now: datetime) -> int:
    """Write down, once, which increases have ended; the limits know it without that. Returns how many."""
    rows = IncreaseRequest.objects.unscoped("by the clock").filter(state=RequestState.APPROVED, ends_at__lte=now)
    ended = list(rows.filter(end_told_at=None).select_related("tenant").select_for_update(of=("self",))[:100])
    for each in ended:
        log.record("quota.increase-ended", actor=SYSTEM, target=each.tenant, before=_facts(each))
        each.end_told_at = now
        each.save(update_fields=["end_told_at"])
    return len(ended)


def _grant(asked: IncreaseRequest, *, actor: Actor, by: str, answer: str) -> IncreaseRequest:
    _settle(asked, RequestState.APPROVED, by=by, answer=answer)
    log.record("quota.increase-approved", actor=actor, target=asked.tenant, after=_facts(asked))
    if asked.ends_at is None:
        lasting = Quota.objects.get(tenant=asked.tenant)
        set_limits(actor=actor, tenant=asked.tenant, limits=_kept(grants.raised(lasting.limits, [asked]), asked))
    return asked


def _kept(limits: Mapping[str, int | None], asked: IncreaseRequest) -> dict[str, int | None]:
    return {resource: limits[resource] for resource in asked.wanted}


def _settle(asked: IncreaseRequest, state: RequestState, *, by: str, answer: str = "") -> None:
    """One answer, whoever else gives one at the same time."""
    answer = text.label(answer, field="answer", longest=500) if answer.strip() else ""
    values = {"state": state, "decided_by": by, "decided_at": timezone.now(), "answer": answer}
    rows = IncreaseRequest.objects.unscoped("in hand").filter(pk=asked.pk, state=RequestState.PENDING)
    if not rows.update(**values):
        raise Conflict("It was answered already.", code="request_over")
    for name, value in values.items():
        setattr(asked, name, value)


def _is_by_rule(asked: IncreaseRequest, quota: Quota) -> bool:
    allowed = rule()
    if not allowed.is_active or asked.ends_at is None or asked.ends_at > timezone.now() + timedelta(days=allowed.days):
        return False
    if grants.running([asked.tenant_id]):
        return False
    limits = quota.limits
    if any(limit > (limits[name] or 0) * (100 + allowed.percent) // 100 for name, limit in asked.wanted.items()):
        return False
    return all(each.fits for each in consequences.of(asked))


def _check(wanted: Mapping[str, int], limits: grants.Limits, ends_at: datetime | None) -> None:
    if not wanted:
        raise Invalid("Ask for at least one limit.", code="required", field="wanted")
    for resource, limit in wanted.items():
        if resource not in RESOURCES:
            raise Invalid("There is no such limit.", code="unknown_field", field=resource)
        now = limits[resource]
        if now is None:
            raise Invalid("It has no limit now.", field=resource)
        if not now < limit <= MOST:
            raise Invalid(f"Ask for more than {now}, and at most {MOST}.", field=resource)
    if ends_at is not None and not timezone.now() < ends_at <= timezone.now() + LONGEST:
        raise Invalid(f"Choose a time within the next {LONGEST.days} days.", field="ends_at")


def _facts(asked: IncreaseRequest) -> dict[str, object]:
    ends_at = asked.ends_at.isoformat() if asked.ends_at else None
    return {**asked.wanted, "ends_at": ends_at, "reason": asked.reason, "answer": asked.answer}
