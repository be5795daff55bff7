"""Budgets: set by owners, looked at by the clock, and what follows where a threshold is passed."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string

from portal.billing import selectors
from portal.billing.models import Budget, BudgetCrossing
from portal.billing.models.budget import Action, Basis
from portal.billing.months import Month
from portal.core import clocks
from portal.core.errors import Invalid, NotFound
from portal.events import log
from portal.quotas import blocks, ledger
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.models import Membership, Tenant
from portal.tenancy.roles import Permission, Role

MOST_THRESHOLDS, HIGHEST_PERCENT = 10, 1000
LARGEST = Decimal(10) ** 12
KEEPER = replace(SYSTEM, source="budget")
logger = logging.getLogger(__name__)
Threshold = dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """What a month comes to so far, and by its end if all stays as it is; in one currency."""

    month: Month
    spent: Decimal
    forecast: Decimal

    def of(self, basis: str) -> Decimal:
        return self.spent if basis == Basis.SPENT else self.forecast


def budget_of(actor: Actor, tenant: Tenant) -> Budget:
    actor.require(Permission.BILLING_READ, tenant.pk)
    found = Budget.objects.for_actor(actor).filter(tenant=tenant).first()
    if found is None:
        raise NotFound("There is no budget.")
    return found


def standing(tenant_id: UUID, currency: str) -> Standing:
    """As the showback says. A constant number of queries."""
    month = Month.of(clocks.database_now())
    spent = selectors.totals(selectors.of_month(tenant_id, month))
    forecast = selectors.totals(selectors.of_month(tenant_id, month, month.until))
    return Standing(month, spent.get(currency, Decimal(0)), forecast.get(currency, Decimal(0)))


def passed(amount: Decimal, thresholds: Sequence[Threshold], now: Standing) -> list[Threshold]:
    """Pure: those that are reached."""
    return [each for each in thresholds if now.of(each["of"]) * 100 >= amount * each["percent"]]


@transaction.atomic
def set_budget(*, actor: Actor, tenant: Tenant, amount: Decimal, thresholds: Sequence[Threshold]) -> Budget:
    """Make or change it; what it comes to now holds at once, so a higher one lifts a block. Invalid at the field."""
    actor.require(Permission.BUDGET_WRITE, tenant.pk)
    if not 0 < amount <= LARGEST:
        raise Invalid(f"Use an amount above 0, up to {LARGEST}.", field="amount")
    _check(thresholds)
    month = Month.of(clocks.database_now())
    currency = selectors.tariffs(tenant.pk, clocks.database_now(), month.until)[0].currency
    now = standing(tenant.pk, currency)
    ledger.lock(tenant.pk)
    rows = Budget.objects.unscoped("required above").filter(tenant=tenant)
    before = _facts(rows.first())
    values = {
        "amount": amount,
        "currency": currency,
        "thresholds": sorted(thresholds, key=lambda each: each["percent"]),
    }
    budget, _ = rows.update_or_create(tenant=tenant, defaults=values)
    log.record("budget.set", actor=actor, target=tenant, before=before, after=_facts(budget))
    _act(budget, now)
    return budget


@transaction.atomic
def remove_budget(*, actor: Actor, tenant: Tenant) -> None:
    """With it goes what it blocked. There may be none: it is gone all the same."""
    actor.require(Permission.BUDGET_WRITE, tenant.pk)
    ledger.lock(tenant.pk)
    found = Budget.objects.unscoped("required above").filter(tenant=tenant).first()
    if found is None:
        return
    log.record("budget.removed", actor=actor, target=tenant, before=_facts(found))
    found.delete()
    blocks.lift(tenant.pk)


def evaluate() -> None:
    """Look at all budgets. Twice comes to the same; one that cannot be looked at keeps no other back."""
    for budget in Budget.objects.unscoped("by the clock").filter(tenant__closed_at=None):
        try:
            _evaluate(budget)
        except Exception:
            logger.exception("budget of tenant %s was not looked at", budget.tenant_id)


def _evaluate(budget: Budget) -> None:
    """The sums are made before the lock is taken; the budget is judged as it is then."""
    now = standing(budget.tenant_id, budget.currency)
    with transaction.atomic():
        ledger.lock(budget.tenant_id)
        rows = Budget.objects.unscoped("by the clock").select_related("tenant")
        fresh = rows.filter(pk=budget.pk, currency=budget.currency).first()
        if fresh is not None:
            _act(fresh, now)


def _act(budget: Budget, now: Standing) -> None:
    """The account is locked: whoever claims does so before this, or is refused."""
    reached = passed(budget.amount, budget.thresholds, now)
    for each in reached:
        _, is_new = BudgetCrossing.objects.get_or_create(budget=budget, since=now.month.since, **each)
        if is_new:
            after = {**each, "amount": str(budget.amount), "currency": budget.currency, "month": str(now.month)}
            log.record("budget.crossed", actor=KEEPER, target=budget.tenant, after=after)
    actions = {each["action"] for each in reached}
    if actions & {Action.BLOCK, Action.STOP}:
        reason = (
            f"The budget of {budget.amount} {budget.currency} a month lets nothing new be made: {now.spent} is spent."
        )
        blocks.block(budget.tenant_id, reason=reason, stops=Action.STOP in actions, until=now.month.until)
    else:
        blocks.lift(budget.tenant_id)


def tell() -> None:
    """Mail what was passed: to owners and billing readers, and again later where the server takes none."""
    for crossing in BudgetCrossing.objects.filter(told_at=None).select_related("budget__tenant")[:100]:
        rows = BudgetCrossing.objects.filter(pk=crossing.pk, told_at=None)
        try:
            _send(crossing)
        except (OSError, smtplib.SMTPException) as error:
            logger.warning("a mail on a budget was not sent: %s", error)
        else:
            rows.update(told_at=clocks.database_now())


def to_stop() -> list[Tenant]:
    """Those whose machines are to be off, and whose people were told of it."""
    now = clocks.database_now()
    told = BudgetCrossing.objects.filter(action=Action.STOP, since=Month.of(now).since, told_at__isnull=False)
    ids = list(told.values_list("budget__tenant_id", flat=True).distinct())
    stopping = blocks.stopping(ids)
    return list(Tenant.objects.unscoped("by the clock").filter(pk__in=stopping))


def _send(crossing: BudgetCrossing) -> None:
    tenant = crossing.budget.tenant
    members = Membership.objects.filter(tenant=tenant, role__in=[Role.OWNER, Role.BILLING], user__is_active=True)
    addresses = [each for each in members.values_list("user__email", flat=True) if each]
    context = {"crossing": crossing, "budget": crossing.budget, "tenant": tenant, "root": settings.PUBLIC_URL}
    words = render_to_string("mail/budget.txt", context)
    subject = f"{tenant.name}: {crossing.percent} % of the budget"
    for address in addresses:
        try:
            send_mail(subject, words, settings.DEFAULT_FROM_EMAIL, [address])
        except smtplib.SMTPRecipientsRefused as error:  # for good: it keeps nobody else from being told
            logger.warning("a mail on a budget was refused: %s", error)


def _check(thresholds: Sequence[Threshold]) -> None:
    if len(thresholds) > MOST_THRESHOLDS:
        raise Invalid(f"At most {MOST_THRESHOLDS} thresholds.", field="thresholds")
    if len({tuple(sorted(each.items())) for each in thresholds}) < len(thresholds):
        raise Invalid("One of them is there twice.", field="thresholds")
    for each in thresholds:
        if not 1 <= each["percent"] <= HIGHEST_PERCENT:
            raise Invalid(f"Use 1 to {HIGHEST_PERCENT} percent.", field="thresholds")
        if each["of"] not in Basis.values or each["action"] not in Action.values:
            raise Invalid("There is no such threshold.", field="thresholds")
        if each["action"] == Action.STOP and each["of"] != Basis.SPENT:
            raise Invalid("Machines are stopped by what is spent, not by a forecast.", field="thresholds")


def _facts(budget: Budget | None) -> dict[str, Any]:
    if budget is None:
        return {}
    return {"amount": str(budget.amount), "currency": budget.currency, "thresholds": budget.thresholds}
