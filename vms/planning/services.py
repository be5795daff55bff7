"""Planning a change, and making it as it was planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from portal.core.errors import Conflict, NotFound
from portal.tenancy.gate import Actor
from vms.models import Plan
from vms.planning.draft import Draft, carry_out
from vms.planning.help import help_with
from vms.planning.kinds import KINDS, Body, Result
from vms.planning.told import differences, told
from vms.planning.trial import trial

GOOD_FOR = timedelta(minutes=10)
KEPT_FOR = timedelta(hours=1)  # so long is told that it has expired, or was applied


def draft(*, actor: Actor, action: str, target: str = "", body: Body) -> Draft:
    """What it would come to now; nothing is kept of it.

    Raises NotFound and Forbidden as the use case does, and Invalid where it is not clear whom it is about. Every other
    refusal is in the draft.
    """
    kind = KINDS[action]
    with trial():
        subject = kind.find(actor, target, body)
        found, _ = carry_out(actor, kind, subject, body)
    return replace(found, help=help_with(found.refusal, actor, kind, subject, body))


def plan(*, actor: Actor, action: str, target: str = "", body: Body) -> Plan:
    """The same, kept for ten minutes, in which its maker may apply it."""
    found = draft(actor=actor, action=action, target=target, body=body)
    assert actor.user is not None
    asked = {"action": action, "target": target, "body": _kept({**body, **_settled(action, found)})}
    made = Plan(tenant=found.tenant, user=actor.user, told=told(found), expires_at=timezone.now() + GOOD_FOR, **asked)
    made.save(force_insert=True)
    return made


def plan_of(actor: Actor, id: UUID) -> Plan:
    """One's own; NotFound for all others."""
    found = Plan.objects.for_actor(actor).filter(pk=id, user=actor.user).select_related("tenant").first()
    if found is None:
        raise NotFound("There is no such plan.")
    return found


@transaction.atomic
def apply(*, actor: Actor, plan: Plan) -> Result:
    """Make the change as it was planned, at the price that it was planned at.

    Raises what the use case raises, with `changed` where that was not foreseen. Conflict: "plan_expired",
    "plan_applied", or "plan_outdated" where it would come to something else by now; then nothing is changed.
    """
    plan = Plan.objects.unscoped("in hand").select_for_update().select_related("tenant").get(pk=plan.pk)
    _refuse_if_over(plan, timezone.now())
    kind = KINDS[plan.action]
    found, result = carry_out(actor, kind, kind.find(actor, plan.target, plan.body), plan.body)
    changed = list(differences(plan.told, told(found)))
    if found.refusal is not None:
        found.refusal.extra |= {"changed": changed} if changed else {}
        raise found.refusal
    if changed:
        words = f"Something has changed since it was planned. {' '.join(changed)} Make a new plan."
        raise Conflict(words, code="plan_outdated", extra={"changed": changed})
    plan.applied_at, plan.operation = timezone.now(), result.operation
    plan.save(update_fields=["applied_at", "operation"])
    return result


def forget(now: datetime) -> int:
    """Remove what expired a while ago; returns how many there were."""
    return Plan.objects.unscoped("by the clock").filter(expires_at__lt=now - KEPT_FOR).delete()[0]


def _kept(body: Body) -> dict[str, Any]:
    """In JSON's types."""
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in body.items()}


def _settled(action: str, found: Draft) -> Body:
    """A move goes to the host that it was planned to."""
    return {"host": found.where.host} if action == "vm.migrate" and found.where else {}


def _refuse_if_over(plan: Plan, now: datetime) -> None:
    if plan.applied_at is not None:
        extra: Mapping[str, Any] = {"operation": str(plan.operation_id)} if plan.operation_id else {}
        raise Conflict("It was applied already.", code="plan_applied", extra=extra)
    if plan.expires_at <= now:
        raise Conflict("It is older than ten minutes. Make a new plan.", code="plan_expired")
