"""Expiry dates over the API, and what administrators ask of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.events.models import Event
from tests.world import Caller, World
from vms.models import VM
from vms.services import lease_clock

Api = Callable[..., Caller]
NEW = {"name": "new", "image": "tiny", "flavor": "small", "tenant": "acme"}
POLICY = "tenants/acme/lease-policy"


def in_days(days: float) -> str:
    return (timezone.now() + timedelta(days=days)).isoformat()


def ends_in(vm: dict[str, Any]) -> float:
    """Days."""
    return (datetime.fromisoformat(vm["expires_at"]) - timezone.now()) / timedelta(days=1)


def web(world: World, tail: str = "") -> str:
    return f"vms/{world.machines['web'].pk}{tail}"


def test_a_machine_has_none_unless_it_is_wanted(world: World, call: Api) -> None:
    vm = call("member").post("vms", NEW).json()["vm"]
    assert (vm["expires_at"], vm["lease"]) == (None, None)
    assert vm["actions"]["extend"] == {"allowed": False, "reason": "It has no expiry date."}


def test_it_is_set_changed_extended_and_removed(world: World, call: Api) -> None:
    member = call("member")
    vm = member.post("vms", {**NEW, "expires_at": in_days(3)}).json()["vm"]
    assert ends_in(vm) == pytest.approx(3, abs=0.01)
    assert vm["lease"]["stage"] == "running"
    path = f"vms/{vm['id']}"
    assert ends_in(member.patch(path, {"expires_at": in_days(5)}).json()) == pytest.approx(5, abs=0.01)
    assert ends_in(member.post(f"{path}/actions/extend", {}).json()) == pytest.approx(30, abs=0.01)
    until = in_days(40)
    assert ends_in(member.post(f"{path}/actions/extend", {"expires_at": until}).json()) == pytest.approx(40, abs=0.01)
    assert ends_in(member.post(f"{path}/actions/extend", {}).json()) == pytest.approx(40, abs=0.01)  # never earlier
    assert member.patch(path, {"expires_at": None}).json()["expires_at"] is None
    told = Event.objects.unscoped("test").filter(kind="vm.lease-changed").order_by("id")
    assert [bool(each.data["after"]["expires_at"]) for each in told] == [True, True, True, False]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(in_days(0.5), id="too-soon"),
        pytest.param(in_days(-1), id="over"),
        pytest.param(in_days(4000), id="too-late"),
        "tomorrow",
        "2026-13-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        5,
        True,
    ],
)
def test_nonsense(world: World, call: Api, wrong: object) -> None:
    world.leased("web")
    for answer in (
        call("member").post("vms", {**NEW, "expires_at": wrong}),
        call("member").patch(web(world), {"expires_at": wrong}),
        call("member").post(web(world, "/actions/extend"), {"expires_at": wrong}),
    ):
        assert answer.status_code == 400, answer.content
        assert [error["field"] for error in answer.json()["errors"]] == ["expires_at"]


def test_to_extend_is_not_to_shorten(world: World, call: Api) -> None:
    world.leased("web", days=20)
    answer = call("member").post(web(world, "/actions/extend"), {"expires_at": in_days(10)})
    assert answer.status_code == 400


def test_in_the_bin_there_is_nothing_to_change(world: World, call: Api) -> None:
    vm = world.binned()
    assert call("member").patch(f"vms/{vm.pk}", {"expires_at": in_days(3)}).json()["code"] == "wrong_state"
    assert call("member").post(f"vms/{vm.pk}/actions/extend", {}).json()["code"] == "wrong_state"


class TestPolicy:
    def test_what_every_tenant_begins_with(self, call: Api) -> None:
        shown = {"demand": "optional", "longest_days": None, "warn_days": 7, "off_days": 3}
        assert call("viewer").get(POLICY).json() == shown

    def test_demanded_gives_every_machine_a_date(self, world: World, call: Api) -> None:
        answer = call("admin").put(POLICY, {"demand": "demanded", "longest_days": 14})
        assert answer.status_code == 200, answer.content
        assert all(vm["expires_at"] for vm in call("member").get("vms").json()["results"])
        assert not VM.objects.unscoped("test").filter(tenant=world.beta).exclude(expires_at=None).exists()
        assert ends_in(call("member").post("vms", NEW).json()["vm"]) == pytest.approx(14, abs=0.01)
        none = call("member").patch(web(world), {"expires_at": None})
        assert none.json()["errors"][0]["field"] == "expires_at"
        far = call("member").patch(web(world), {"expires_at": in_days(15)})
        assert far.json()["errors"][0]["code"] == "too_far"
        assert Event.objects.unscoped("test").filter(kind="tenant.lease-policy-changed").count() == 1

    def test_one_that_was_made_while_it_was_changed_gets_one_by_the_clock(self, world: World, call: Api) -> None:
        call("admin").put(POLICY, {"demand": "demanded"})
        VM.objects.unscoped("test").filter(name="cold").update(expires_at=None)
        for _ in range(2):
            lease_clock.follow(timezone.now())
        assert ends_in(call("member").get(f"vms/{world.machines['cold'].pk}").json()) == pytest.approx(30, abs=0.01)
        told = Event.objects.unscoped("test").filter(kind="vm.lease-changed", source="lease")
        assert told.count() == 1

    def test_clones_have_one_too(self, world: World, call: Api) -> None:
        call("admin").put(POLICY, {"demand": "demanded", "longest_days": 14})
        cold = world.machines["cold"].pk
        clone = call("member").post(f"vms/{cold}/actions/clone", {"name": "copy"}).json()["vm"]
        assert ends_in(clone) == pytest.approx(14, abs=0.01)

    def test_none_ends_them_all(self, world: World, call: Api) -> None:
        world.leased("web", lease_stage="kept", lease_since=timezone.now())
        assert call("admin").put(POLICY, {"demand": "none"}).status_code == 200
        shown = call("member").get(web(world)).json()
        assert (shown["expires_at"], shown["lease"]) == (None, None)
        refused = call("member").patch(web(world), {"expires_at": in_days(3)})
        assert refused.json()["errors"][0]["code"] == "no_leases"

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"demand": "sometimes"}, "demand"),
            ({"longest_days": 1}, "longest_days"),
            ({"longest_days": 3651}, "longest_days"),
            ({"warn_days": 0}, "warn_days"),
            ({"off_days": 91}, "off_days"),
            ({"off_days": -1}, "off_days"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_nonsense(self, call: Api, wrong: dict[str, Any], field: str) -> None:
        answer = call("admin").put(POLICY, {"demand": "optional", **wrong})
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == [field]
