"""Budgets: who sets them, what they come to, and that nothing new is made beyond them."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.billing import budgets
from portal.billing.models import BudgetCrossing
from portal.billing.months import Month
from portal.events.models import Event
from portal.operations.models import Operation
from portal.quotas import blocks
from portal.tenancy.gate import SYSTEM
from portal.tenancy.services import set_member
from tests.billing.conftest import Clock
from tests.world import Caller, World
from vms.models import VM, Power
from vms.services import budget

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
Call = Callable[..., Caller]
BLOCK = {"percent": 100, "of": "spent", "action": "block"}
STOP = {"percent": 100, "of": "spent", "action": "stop"}
NOTIFY = {"percent": 80, "of": "spent", "action": "notify"}
PRICES = {
    "name": "Prices",
    "currency": "EUR",
    "since": "2026-03-01T00:00:00Z",
    "prices": [{"meter": "vcpu", "unit_price": "100"}],
}


@pytest.fixture
def web(world: World, clock: Clock, call: Call) -> VM:
    """A machine that runs, and has run for an hour: it has cost 100 EUR."""
    clock.now = MARCH + timedelta(days=9, hours=12)
    VM.objects.unscoped("test").filter(tenant=world.acme).update(observed_power=Power.STOPPED)
    assert call("admin").post("prices", PRICES).status_code == 201
    vm = world.vm("metered")
    clock.go(timedelta(hours=1))
    for person in world.people.values():
        person.email = f"{person.username}@example.org"
        person.save()
    return vm


def put(call: Call, amount: str, *thresholds: dict[str, Any], who: str = "owner") -> Any:
    return call(who).put("budgets/acme", {"amount": amount, "thresholds": list(thresholds)})


def create(call: Call) -> Any:
    return call("owner").post("vms", {"name": "more", "image": "tiny", "flavor": "small"})


def crossed() -> int:
    return Event.objects.unscoped("test").filter(kind="budget.crossed").count()


class TestStanding:
    def test_it_is_what_the_showback_says(self, web: VM, call: Call) -> None:
        assert put(call, "1000.00", NOTIFY).status_code == 200
        shown = call("viewer").get("budgets/acme").json()
        assert (shown["spent"], shown["currency"], shown["month"]) == ("100.00", "EUR", "2026-03")
        hours = (datetime(2026, 4, 1, tzinfo=UTC) - (MARCH + timedelta(days=9, hours=12))) / timedelta(hours=1)
        assert Decimal(shown["forecast"]) == Decimal(hours) * 100
        assert (shown["thresholds"], shown["blocked"]) == ([{**NOTIFY, "is_reached": False}], None)

    def test_without_one(self, world: World, call: Call) -> None:
        assert call("viewer").get("budgets/acme").status_code == 404

    @pytest.mark.parametrize(
        "body",
        [
            {"amount": "0", "thresholds": []},
            {"amount": "-1", "thresholds": []},
            {"amount": "1.001", "thresholds": []},
            {"amount": 5, "thresholds": []},
            {"amount": "5", "thresholds": [BLOCK, BLOCK]},
            {"amount": "5", "thresholds": [{**BLOCK, "percent": 0}]},
            {"amount": "5", "thresholds": [{**BLOCK, "action": "delete"}]},
            {"amount": "5", "thresholds": [{**STOP, "of": "forecast"}]},
            {"amount": "5", "thresholds": [BLOCK | {"percent": n} for n in range(1, 12)]},
        ],
    )
    def test_refusals(self, world: World, call: Call, body: dict[str, Any]) -> None:
        assert call("owner").put("budgets/acme", body).status_code == 400

    @given(
        amount=st.decimals("0.01", "1000000", places=2),
        spent=st.decimals("0", "1000000", places=2),
        more=st.decimals("0", "1000000", places=2),
        percent=st.integers(1, 1000),
    )
    def test_a_higher_amount_never_passes_more(
        self, amount: Decimal, spent: Decimal, more: Decimal, percent: int
    ) -> None:
        now = budgets.Standing(Month(MARCH), spent, spent + more)
        rules = [{**NOTIFY, "percent": percent}, {**NOTIFY, "percent": percent, "of": "forecast"}]
        low, high = budgets.passed(amount, rules, now), budgets.passed(amount + more, rules, now)
        assert all(each in low for each in high)
        assert (rules[0] in low) <= (rules[1] in low)


class TestBlock:
    def test_nothing_new_is_made_and_a_higher_budget_lifts_it_at_once(self, web: VM, call: Call) -> None:
        put(call, "100.00", BLOCK)
        refused = create(call)
        assert (refused.status_code, refused.json()["code"]) == (409, "budget_exceeded")
        assert "100.00 EUR" in refused.json()["detail"]
        put(call, "100.01", BLOCK)
        assert create(call).status_code == 202

    def test_every_sort_of_growth_is_refused_at_one_gate(self, web: VM, call: Call) -> None:
        put(call, "50.00", BLOCK)
        owner, path = call("owner"), f"vms/{web.pk}"
        volume = owner.post("volumes", {"name": "data", "size_gib": 1, "tenant": "acme"})
        snapshot = owner.post(f"{path}/snapshots", {"name": "now"})
        assert {volume.json()["code"], snapshot.json()["code"]} == {"budget_exceeded"}

    def test_what_runs_goes_on_and_may_be_stopped(self, web: VM, call: Call) -> None:
        put(call, "50.00", BLOCK)
        budget.follow()
        assert not Operation.objects.unscoped("test").filter(source="budget").exists()
        assert call("owner").post(f"vms/{web.pk}/actions/stop").status_code == 202

    def test_it_ends_with_the_month(self, web: VM, call: Call, clock: Clock) -> None:
        put(call, "50.00", BLOCK)
        clock.now = datetime(2026, 4, 1, tzinfo=UTC)
        assert blocks.of(web.tenant_id) is None
        assert create(call).status_code == 202

    def test_it_ends_with_the_budget(self, web: VM, call: Call) -> None:
        put(call, "50.00", BLOCK)
        assert call("owner").request("DELETE", "budgets/acme").status_code == 204
        assert create(call).status_code == 202

    def test_by_forecast(self, web: VM, call: Call) -> None:
        put(call, "1000.00", {**BLOCK, "of": "forecast"})
        assert create(call).json()["code"] == "budget_exceeded"

    def test_the_clock_finds_it_too(self, web: VM, call: Call, clock: Clock) -> None:
        put(call, "150.00", BLOCK)
        clock.go(timedelta(hours=1))
        assert blocks.of(web.tenant_id) is None
        budgets.evaluate()
        assert create(call).json()["code"] == "budget_exceeded"


class TestStop:
    def test_machines_are_stopped_once_people_were_told_and_not_started(
        self, web: VM, call: Call, mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(call, "100.00", STOP)

        def fail(*_: Any, **__: Any) -> None:
            raise smtplib.SMTPServerDisconnected

        with monkeypatch.context() as patch:
            patch.setattr(budgets, "send_mail", fail)
            budget.follow()
        stops = Operation.objects.unscoped("test").filter(source="budget", target_id=web.pk)
        assert not stops.exists()
        budget.follow()
        budget.follow()
        assert ([each.kind for each in stops], len(mailoutbox)) == (["vm.stop"], 1)
        stops.update(state="succeeded")
        VM.objects.unscoped("test").filter(pk=web.pk).update(observed_power=Power.STOPPED)
        start = call("owner").post(f"vms/{web.pk}/actions/start")
        assert (start.status_code, start.json()["code"]) == (409, "budget_exceeded")
        put(call, "1000.00", STOP)
        assert call("owner").post(f"vms/{web.pk}/actions/start").status_code == 202


class TestOnce:
    def test_a_threshold_is_told_once_a_month(
        self, web: VM, world: World, call: Call, clock: Clock, mailoutbox: list[Any]
    ) -> None:
        set_member(actor=SYSTEM, tenant=world.acme, username="foreign", role="billing")
        put(call, "100.00", NOTIFY)
        put(call, "90.00", NOTIFY)
        budget.follow()
        budget.follow()
        assert (crossed(), len(mailoutbox)) == (1, 2)
        clock.now = datetime(2026, 4, 2, tzinfo=UTC)
        budget.follow()
        assert (crossed(), len(mailoutbox)) == (2, 4)

    def test_one_that_died_before_it_committed_begins_anew(
        self, web: VM, call: Call, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(call, "150.00", BLOCK)
        clock.go(timedelta(hours=1))
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "block", lambda *_, **__: 1 / 0)
            budgets.evaluate()
        assert (crossed(), BudgetCrossing.objects.count()) == (0, 0)
        budgets.evaluate()
        assert (crossed(), BudgetCrossing.objects.count()) == (1, 1)

    def test_queries_do_not_grow_with_machines(
        self, web: VM, world: World, call: Call, django_assert_max_num_queries: Any
    ) -> None:
        put(call, "100000.00", NOTIFY)
        for name in ("a", "b", "c", "d"):
            world.vm(name)
        with django_assert_max_num_queries(16):
            budgets.evaluate()
