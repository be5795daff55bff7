"""Usage, charges, prices and months over the API."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from portal.billing import focus
from portal.billing.models import Charged, Immutable, Interval, Period, PriceBook
from tests.billing.conftest import Clock
from tests.world import Caller, World
from vms.models import VM, Power

pytestmark = pytest.mark.django_db
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
Call = Callable[..., Caller]
BOOK = {
    "name": "Prices",
    "currency": "EUR",
    "since": "2026-03-01T00:00:00Z",
    "prices": [{"meter": "vcpu", "unit_price": "0.01"}, {"meter": "memory", "unit_price": "0.002"}],
}


@pytest.fixture
def web(world: World, clock: Clock) -> VM:
    """A machine that ran on 10 March from noon to one o'clock, and is off since."""
    clock.now = MARCH + timedelta(days=9, hours=12)
    vm = world.vm("metered")
    clock.go(timedelta(hours=1))
    VM.objects.unscoped("test").filter(pk=vm.pk).update(observed_power=Power.STOPPED)
    clock.go(timedelta(hours=1))
    return vm


def charges(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    """Of March, all pages."""
    path, found = f"charges?tenant=acme&limit=3&from=2026-03-01T00:00:00Z&to=2026-04-01T00:00:00Z{query}", []
    while path:
        answer = caller.get(path)
        assert answer.status_code == 200, answer.content
        found += answer.json()["results"]
        path = (answer.json()["next"] or "").partition("/api/v1/")[2]
    return found


def text_of(answer: Any) -> str:
    return b"".join(answer).decode()


class TestUsage:
    def test_rows_are_intervals(self, web: VM, call: Call) -> None:
        rows = call("viewer").get(f"usage?resource={web.pk}&meter=vcpu&from=2026-03-01T00:00:00Z").json()["results"]
        (row,) = rows
        assert (row["tenant"], row["unit"], row["quantity"], row["grade"]) == ("acme", "vCPU-hour", "1", "burstable")
        assert (row["from"], row["to"]) == ("2026-03-10T12:00:00Z", "2026-03-10T13:00:00Z")

    def test_they_are_cut_to_the_period(self, web: VM, call: Call) -> None:
        period = "from=2026-03-10T12:30:00Z&to=2026-03-10T12:45:00Z"
        (row,) = call("owner").get(f"usage?resource={web.pk}&meter=vcpu&{period}").json()["results"]
        assert row["quantity"] == "0.25"

    def test_what_is_held_still_is_used_up_to_now(self, web: VM, call: Call) -> None:
        path = f"usage?machine={web.pk}&meter=disk&from=2026-03-01T00:00:00Z&to=2027-01-01T00:00:00Z"
        (row,) = call("owner").get(path).json()["results"]
        assert row["quantity"] == "2"

    @pytest.mark.parametrize(
        "query",
        ["meter=x", "resource=1", "from=yesterday", "from=2027-01-01T00:00:00Z", "tenant=beta", "limit=0", "cursor=x"],
    )
    def test_refusals(self, web: VM, call: Call, query: str) -> None:
        assert call("owner").get(f"usage?{query}").status_code == 400

    def test_another_tenant_sees_none_of_it(self, web: VM, call: Call) -> None:
        assert call("foreign").get(f"usage?resource={web.pk}").json()["results"] == []


class TestCharges:
    def test_usage_times_price(self, web: VM, call: Call) -> None:
        assert call("admin").post("prices", BOOK).status_code == 201
        lines = [line for line in charges(call("owner")) if line["resource"] == str(web.pk)]
        costs = {line["meter"]: (line["quantity"], line["unit_price"], line["cost"]) for line in lines}
        assert costs["vcpu"] == ("1", "0.01", "0.01")
        assert costs["memory"] == ("0.125", "0.002", "0.00025")
        assert costs["vcpu-off"] == ("1", "0", "0")

    def test_a_tenants_own_prices_stand_before_others(self, web: VM, call: Call) -> None:
        call("admin").post("prices", BOOK)
        own = {**BOOK, "tenant": "acme", "prices": [{"meter": "vcpu", "unit_price": "0.005"}]}
        assert call("admin").post("prices", own).status_code == 201
        costs = {line["meter"]: line["cost"] for line in charges(call("owner"), f"&resource={web.pk}")}
        assert (costs["vcpu"], costs["memory"]) == ("0.005", "0.00025")
        assert call("foreign").get("prices").json()["results"][0]["tenant"] is None

    def test_prices_that_change_in_between(self, web: VM, call: Call) -> None:
        call("admin").post("prices", BOOK)
        later = {**BOOK, "since": "2026-03-10T12:30:00Z", "prices": [{"meter": "vcpu", "unit_price": "0.02"}]}
        assert call("admin").post("prices", later).status_code == 201
        lines = charges(call("owner"), f"&resource={web.pk}&meter=vcpu")
        assert [(line["quantity"], line["cost"]) for line in lines] == [("0.5", "0.005"), ("0.5", "0.01")]
        assert [book.until is None for book in PriceBook.objects.unscoped("test")] == [True, False]

    @pytest.mark.parametrize("query", ["from=2026-03-02T00:00:00Z", "format=focus-1.0", "cursor=garbage", "limit=1000"])
    def test_refusals(self, web: VM, call: Call, query: str) -> None:
        assert call("owner").get(f"charges?{query}").status_code == 400


class TestExport:
    PATH = "charges?tenant=acme&from=2026-03-01T00:00:00Z&to=2026-04-01T00:00:00Z&format="

    @pytest.mark.parametrize("version", list(focus.COLUMNS))
    def test_both_forms_say_the_same_as_the_list(self, web: VM, call: Call, version: str) -> None:
        call("admin").post("prices", BOOK)
        table = list(csv.DictReader(io.StringIO(text_of(call("owner").get(self.PATH + version)))))
        answer = call("owner").get(self.PATH + version, Accept="application/jsonl")
        lines = [json.loads(line, parse_float=str, parse_int=str) for line in text_of(answer).splitlines()]
        assert answer["Content-Type"].startswith("application/jsonl")
        assert [{name: value or "" for name, value in line.items()} for line in lines] == table
        assert tuple(table[0]) == focus.COLUMNS[version]
        assert [row["BilledCost"] for row in table] == [line["cost"] for line in charges(call("owner"))]

    def test_columns_that_each_version_has(self) -> None:
        mandatory = {
            *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart"),
            *("BillingPeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodStart"),
            *("ChargePeriodEnd", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost"),
            *("PricingQuantity", "PricingUnit", "ServiceCategory", "ServiceName"),
        }
        assert mandatory | {"ProviderName", "PublisherName"} <= set(focus.COLUMNS["focus-1.2"])
        assert mandatory | {"ServiceProviderName", "HostProviderName"} <= set(focus.COLUMNS["focus-1.4"])
        assert set(focus.COLUMNS["focus-1.4"]).isdisjoint({"ProviderName", "PublisherName"})

    def test_a_spreadsheet_runs_nothing(self, web: VM, call: Call) -> None:
        body = {"month": "2026-03", "category": "Credit", "amount": "1", "currency": "EUR", "description": "=1+1"}
        assert call("admin").post("tenants/acme/adjustments", body).status_code == 201
        table = list(csv.DictReader(io.StringIO(text_of(call("owner").get(self.PATH + "focus-1.2")))))
        assert (table[-1]["ChargeDescription"], table[-1]["BilledCost"]) == ("'=1+1", "-1")


class TestMonths:
    def close(self, call: Call, month: str = "2026-03") -> Any:
        return call("admin").post("tenants/acme/periods", {"month": month})

    def test_one_that_is_closed_stays_as_it_is(self, web: VM, clock: Clock, call: Call) -> None:
        call("admin").post("prices", BOOK)
        clock.now = datetime(2026, 4, 2, tzinfo=UTC)
        before = charges(call("owner"))
        answer = self.close(call)
        assert answer.status_code == 201
        assert Decimal(answer.json()["totals"]["EUR"]) == Decimal("0.01")
        assert charges(call("owner")) == before
        clock.now = MARCH + timedelta(days=9, hours=20)  # the clock is set back
        VM.objects.unscoped("test").filter(pk=web.pk).update(observed_power=Power.RUNNING)
        assert charges(call("owner")) == before
        begun = Interval.objects.unscoped("test").get(resource_id=web.pk, meter="vcpu", until=None)
        assert begun.since == datetime(2026, 4, 1, tzinfo=UTC), "nothing is used in a month that is closed"

    def test_it_is_closed_once_and_when_it_is_over(self, web: VM, clock: Clock, call: Call) -> None:
        assert self.close(call).json()["code"] == "month_not_over"
        clock.now = datetime(2026, 4, 1, tzinfo=UTC)
        assert self.close(call).status_code == 201
        assert self.close(call).json()["code"] == "month_closed"

    def test_nothing_is_added_to_it(self, web: VM, clock: Clock, call: Call) -> None:
        clock.now = datetime(2026, 4, 1, tzinfo=UTC)
        self.close(call)
        body = {"month": "2026-03", "category": "Adjustment", "amount": "-3.50", "currency": "EUR", "description": "x"}
        assert call("admin").post("tenants/acme/adjustments", body).json()["code"] == "month_closed"
        assert call("admin").post("prices", BOOK).json()["code"] == "month_closed"
        assert call("admin").post("tenants/acme/adjustments", {**body, "month": "2026-04"}).status_code == 201

    def test_credits_count(self, web: VM, clock: Clock, call: Call) -> None:
        body = {"month": "2026-03", "category": "Credit", "amount": "2.50", "currency": "EUR", "description": "Outage"}
        call("admin").post("tenants/acme/adjustments", body)
        clock.now = datetime(2026, 4, 1, tzinfo=UTC)
        assert self.close(call).json()["totals"] == {"EUR": "-2.50"}

    @pytest.mark.parametrize(
        "change", [{"amount": "0"}, {"amount": "-1"}, {"amount": "0.001"}, {"amount": 1}, {"currency": "eur"}]
    )
    def test_refused_credits(self, web: VM, call: Call, change: dict[str, Any]) -> None:
        body = {
            "month": "2026-03",
            "category": "Credit",
            "amount": "1",
            "currency": "EUR",
            "description": "x",
            **change,
        }
        assert call("admin").post("tenants/acme/adjustments", body).status_code == 400

    def test_frozen_rows_are_never_changed(self, web: VM, clock: Clock, call: Call) -> None:
        clock.now = datetime(2026, 4, 1, tzinfo=UTC)
        self.close(call)
        for rows in (Period.objects.unscoped("test"), Charged.objects.unscoped("test")):
            for attempt in (rows.delete, rows[0].delete, rows[0].save, lambda rows=rows: rows.update(since=MARCH)):
                with pytest.raises(Immutable):
                    attempt()


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "euro"},
        {"prices": []},
        {"prices": [{"meter": "x", "unit_price": "1"}]},
        {"prices": [{"meter": "vcpu", "unit_price": "-1"}]},
        {"prices": [{"meter": "vcpu", "unit_price": 0.1}]},
        {"prices": [{"meter": "vcpu", "unit_price": "0.12345678901"}]},
        {"prices": [{"meter": "vcpu", "unit_price": "NaN"}]},
        {"prices": [{"meter": "vcpu", "unit_price": "1"}, {"meter": "vcpu", "unit_price": "2"}]},
        {"until": "2026-01-01T00:00:00Z"},
        {"tenant": "nobody"},
    ],
)
def test_refused_prices(world: World, call: Call, change: dict[str, Any]) -> None:
    assert call("admin").post("prices", {**BOOK, **change}).status_code == 400
    assert not PriceBook.objects.unscoped("test").exists()


def test_books_do_not_overlap(world: World, call: Call) -> None:
    admin = call("admin")
    assert admin.post("prices", {**BOOK, "since": "2999-06-01T00:00:00Z"}).status_code == 201
    assert admin.post("prices", {**BOOK, "since": "2999-05-01T00:00:00Z"}).json()["code"] == "overlap"
    early = {**BOOK, "since": "2999-05-01T00:00:00Z", "until": "2999-06-01T00:00:00Z"}
    assert admin.post("prices", early).status_code == 201
    assert admin.post("prices", {**BOOK, "tenant": "acme"}).status_code == 201, "a tenant's own are another matter"


def test_what_is_valid_is_ended_and_never_deleted(world: World, call: Call) -> None:
    admin = call("admin")
    id = admin.post("prices", {**BOOK, "since": "2026-01-01T00:00:00Z"}).json()["id"]
    assert admin.delete(f"prices/{id}").json()["code"] == "price_book_valid"
    assert admin.post(f"prices/{id}/actions/end", {"until": "2026-02-01T00:00:00Z"}).status_code == 400
    assert admin.post(f"prices/{id}/actions/end", {"until": "2999-01-01T00:00:00Z"}).status_code == 200
