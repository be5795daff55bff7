"""Asking for more: refused, approved, by rule; and the end that comes by itself and kills nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from hosts.models import Host
from portal.core.errors import Conflict, Forbidden, Invalid
from portal.events.models import Event
from portal.quotas import consequences, grants, ledger, requests
from portal.quotas.models import IncreaseRequest, Quota
from portal.quotas.services import hold
from portal.tenancy.gate import Actor, actor_for
from tests.world import Caller, World


@pytest.fixture
def admin(world: World) -> Actor:
    return actor_for(world.people["admin"])


@pytest.fixture
def ask(world: World) -> Callable[..., IncreaseRequest]:
    def ask(days: int | None = 10, reason: str = "Black Friday", **wanted: int) -> IncreaseRequest:
        ends_at = timezone.now() + timedelta(days=days) if days is not None else None
        actor = actor_for(world.people["member"])
        return requests.ask(actor=actor, tenant=world.acme, wanted=wanted, reason=reason, ends_at=ends_at)

    return ask


def limits(world: World) -> dict[str, int | None]:
    return grants.limits_of(Quota.objects.get(tenant=world.acme))


Ask = Callable[..., IncreaseRequest]


class TestAsking:
    @pytest.mark.parametrize(
        "wrong",
        [{}, {"vcpus": 20}, {"vcpus": 2**31}, {"gold": 1}, {"vcpus": 40, "days": -1}, {"vcpus": 40, "days": 999}],
    )
    def test_what_makes_no_sense(self, ask: Ask, wrong: dict[str, int]) -> None:
        with pytest.raises(Invalid):
            ask(**wrong)

    def test_no_limit_cannot_be_raised(self, world: World, ask: Ask) -> None:
        Quota.objects.filter(tenant=world.acme).update(vcpus=None)
        with pytest.raises(Invalid):
            ask(vcpus=40)

    def test_one_at_a_time(self, ask: Ask) -> None:
        ask(vcpus=40)
        with pytest.raises(Conflict, match="withdraw"):
            ask(vcpus=50)

    def test_withdrawn_makes_room(self, world: World, ask: Ask) -> None:
        requests.withdraw(actor=actor_for(world.people["member"]), asked=ask(vcpus=40))
        assert ask(vcpus=50).state == "pending"

    def test_viewers_ask_for_nothing(self, world: World) -> None:
        actor = actor_for(world.people["viewer"])
        with pytest.raises(Forbidden):
            requests.ask(actor=actor, tenant=world.acme, wanted={"vcpus": 40}, reason="why not")


class TestAnswering:
    def test_for_a_time(self, world: World, ask: Ask, admin: Actor) -> None:
        requests.approve(actor=admin, asked=ask(vcpus=40))
        assert limits(world)["vcpus"] == 40
        assert Quota.objects.get(tenant=world.acme).vcpus == 20, "what lasts is as it was"

    def test_for_good(self, world: World, ask: Ask, admin: Actor) -> None:
        requests.approve(actor=admin, asked=ask(days=None, vcpus=40))
        assert Quota.objects.get(tenant=world.acme).vcpus == 40

    def test_refused(self, world: World, ask: Ask, admin: Actor) -> None:
        asked = requests.refuse(actor=admin, asked=ask(vcpus=40), answer="Not this year.")
        assert (limits(world)["vcpus"], asked.answer) == (20, "Not this year.")

    def test_once(self, ask: Ask, admin: Actor) -> None:
        asked = ask(vcpus=40)
        requests.refuse(actor=admin, asked=asked)
        with pytest.raises(Conflict):
            requests.approve(actor=admin, asked=asked)

    def test_not_when_its_time_is_over(self, ask: Ask, admin: Actor) -> None:
        asked = ask(days=1, vcpus=40)
        with time_machine.travel(timezone.now() + timedelta(days=2)), pytest.raises(Conflict):
            requests.approve(actor=admin, asked=asked)

    def test_a_grant_lowers_nothing(self, world: World, ask: Ask, admin: Actor) -> None:
        requests.approve(actor=admin, asked=ask(vcpus=40))
        Quota.objects.filter(tenant=world.acme).update(vcpus=60)
        assert limits(world)["vcpus"] == 60


class TestTheEnd:
    def test_blocks_growth_and_kills_nothing(self, world: World, ask: Ask, admin: Actor) -> None:
        requests.approve(actor=admin, asked=ask(days=10, vcpus=40))
        holder = uuid4()
        with transaction.atomic():
            hold(world.acme, holder, {"vcpus": 30})
        with time_machine.travel(timezone.now() + timedelta(days=11)):
            assert limits(world)["vcpus"] == 20
            assert ledger.held(world.acme.pk, holder) == {"vcpus": 30}
            with pytest.raises(ledger.Exceeded), transaction.atomic():
                hold(world.acme, uuid4(), {"vcpus": 1})
            with transaction.atomic():
                hold(world.acme, holder, {"vcpus": 5})

    def test_is_told_once(self, ask: Ask, admin: Actor) -> None:
        requests.approve(actor=admin, asked=ask(days=1, vcpus=40))
        later = timezone.now() + timedelta(days=2)
        assert requests.tell_ends(timezone.now()) == 0
        assert [requests.tell_ends(later) for _ in range(2)] == [1, 0]
        assert Event.objects.unscoped("test").filter(kind="quota.increase-ended").count() == 1


class TestConsequences:
    def test_what_is_promised_and_what_there_is(self, world: World, ask: Ask) -> None:
        Host.objects.update(cpus=10, cpu_ratio=5)
        (found,) = consequences.of(ask(vcpus=40))
        assert (found.used, found.limit, found.wanted) == (4, 20, 40)
        assert (found.promised, found.promised_after, found.capacity) == (40, 60, 50)
        assert (found.over_commit, found.over_commit_after, found.fits) == (0.8, 1.2, False)

    def test_a_tenant_without_a_limit_makes_the_sum_unknown(self, world: World, ask: Ask) -> None:
        Quota.objects.filter(tenant=world.beta).update(vcpus=None)
        (found,) = consequences.of(ask(vcpus=40))
        assert (found.promised, found.over_commit_after, found.fits) == (None, None, False)

    def test_they_are_for_the_staff(self, world: World, call: Callable[..., Caller]) -> None:
        path = f"quota-requests/{world.request().pk}"
        assert call("admin").get(path).json()["consequences"][0]["resource"] == "vcpus"
        assert call("owner").get(path).json()["consequences"] is None


class TestTheRule:
    @pytest.fixture(autouse=True)
    def rule(self, world: World, admin: Actor) -> None:
        requests.set_rule(actor=admin, is_active=True, percent=50, days=14)

    def test_within_it_nobody_need_look(self, world: World, ask: Ask) -> None:
        assert (ask(vcpus=30).state, limits(world)["vcpus"]) == ("approved", 30)

    @pytest.mark.parametrize("beyond", [{"vcpus": 31}, {"vcpus": 30, "days": 15}, {"vcpus": 30, "days": None}])
    def test_beyond_it(self, ask: Ask, beyond: dict[str, Any]) -> None:
        assert ask(**beyond).state == "pending"

    def test_not_two_at_once(self, ask: Ask) -> None:
        ask(vcpus=30)
        assert ask(memory_mib=17 * 1024).state == "pending"

    def test_not_what_is_not_there(self, ask: Ask) -> None:
        Host.objects.update(cpus=4, cpu_ratio=1)
        assert ask(vcpus=30).state == "pending"

    def test_switched_off(self, ask: Ask, admin: Actor) -> None:
        requests.set_rule(actor=admin, is_active=False, percent=50, days=14)
        assert ask(vcpus=30).state == "pending"
