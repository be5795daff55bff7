"""Plans over the API: what they say, and that nothing comes of them until they are applied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.events.models import Event
from portal.operations.models import Operation
from portal.quotas.models import Claim, Quota
from tests.world import SSH_KEY, Caller, World
from vms.models import VM, Flavor, Plan, Power
from vms.planning import services

pytestmark = pytest.mark.django_db
Call = Callable[..., Caller]
NEW = {"name": "new", "image": "tiny", "flavor": "small", "ssh_keys": [SSH_KEY]}
BOOK = {
    "name": "Prices",
    "currency": "EUR",
    "since": "2026-03-01T00:00:00Z",
    "prices": [
        {"meter": "vcpu", "unit_price": "0.01"},
        {"meter": "vcpu-off", "unit_price": "0.004"},
        {"meter": "memory", "unit_price": "0.008"},
        {"meter": "disk", "unit_price": "0.001"},
        {"meter": "bin", "unit_price": "0.0005"},
    ],
}


@pytest.fixture
def priced(call: Call) -> None:
    assert call("admin").post("prices", BOOK).status_code == 201


def plan(caller: Caller, action: str, body: dict[str, Any], target: Any = "", status: int = 201) -> dict[str, Any]:
    answer = caller.post("plans", {"action": action, "target": str(target), "body": body})
    assert answer.status_code == status, answer.content
    found: dict[str, Any] = answer.json()
    return found


def apply(caller: Caller, plan: dict[str, Any]) -> Any:
    return caller.post(f"plans/{plan['id']}/actions/apply")


def counts() -> dict[str, int]:
    owned = {model.__name__: model.objects.unscoped("test").count() for model in (Event, VM, Operation)}
    return {**owned, "claims": Claim.objects.count()}


class TestCreate:
    def test_it_says_what_it_costs_and_takes(self, call: Call, priced: None) -> None:
        found = plan(call("owner"), "vm.create", NEW)
        assert found["possible"] is True
        assert found["refusal"] is None
        assert found["tenant"] == "acme"
        # 1 vCPU, 128 MiB, 1 GiB: 0.01 + 0.001 + 0.001
        assert (found["price"]["currency"], found["price"]["hour"]["change"]) == ("EUR", "0.012")
        assert found["price"]["month"]["change"] == "8.76"
        hour = {name: float(value) for name, value in found["price"]["hour"].items()}
        assert hour["after"] - hour["before"] == pytest.approx(0.012)
        before, after = found["quota"]["before"], found["quota"]["after"]
        assert (before["used"]["vms"], after["used"]["vms"]) == (4, 5)
        assert after["used"]["memory_mib"] - before["used"]["memory_mib"] == 128
        assert before["limits"]["vms"] == 10
        assert found["warnings"] == found["irreversible"] == found["help"] == []

    def test_nothing_comes_of_it(self, call: Call) -> None:
        before = counts()
        plan(call("owner"), "vm.create", NEW)
        assert counts() == before
        assert Plan.objects.unscoped("test").count() == 1

    def test_where_it_fits_is_told_without_hosts(self, call: Call) -> None:
        theirs = plan(call("owner"), "vm.create", NEW)["placement"]
        assert theirs == {
            "fits": True,
            "service_class": "burstable",
            "storage_class": "standard",
            "host": None,
            "refused": None,
        }
        staff = plan(call("admin"), "vm.create", {**NEW, "tenant": "acme"})["placement"]
        assert (staff["host"], staff["refused"]) == ("one", {})

    def test_a_full_quota_is_refused_in_the_words_of_the_call(self, world: World, call: Call) -> None:
        Quota.objects.filter(tenant=world.acme).update(vcpus=5)  # of which four are used
        found = plan(call("owner"), "vm.create", {**NEW, "flavor": "large"})
        refusal = call("owner").post("vms", {**NEW, "flavor": "large"}).json()
        assert {**found["refusal"], "instance": ""} == {**refusal, "instance": ""}
        assert found["possible"] is False
        assert (found["price"], found["quota"]["after"], found["placement"]) == (None, None, None)
        assert "Smaller sizes that would do: small." in found["help"]
        assert any("vcpus of 6" in words for words in found["help"])

    def test_no_room_is_told_with_the_reason_for_each_host_to_the_staff(self, world: World, call: Call) -> None:
        Flavor.objects.create(slug="huge", name="Huge", vcpus=1, memory_mib=2**30, disk_gib=1)
        Quota.objects.filter(tenant=world.acme).update(memory_mib=None)
        body = {**NEW, "flavor": "huge", "tenant": "acme"}
        found = plan(call("owner"), "vm.create", body)
        assert found["refusal"]["code"] == "no_capacity"
        assert (found["placement"]["fits"], found["placement"]["refused"]) == (False, None)
        assert found["help"] == ["Smaller sizes that would do: small."], "large has more vCPUs"
        assert "one" in plan(call("admin"), "vm.create", body)["placement"]["refused"]

    def test_a_wrong_choice_is_in_the_plan_and_a_wrong_body_is_not(self, call: Call) -> None:
        found = plan(call("owner"), "vm.create", {**NEW, "flavor": "none"})
        assert [error["field"] for error in found["refusal"]["errors"]] == ["flavor"]
        problem = plan(call("owner"), "vm.create", {"name": "new", "colour": "red"}, status=400)
        assert {error["field"] for error in problem["errors"]} == {"body.colour"}

    def test_whoever_may_not_is_refused(self, world: World, call: Call) -> None:
        assert plan(call("viewer"), "vm.create", NEW, status=403)["code"] == "forbidden"
        web = world.machines["web"].pk
        assert plan(call("foreign"), "vm.delete", {}, web, status=404)["code"] == "not_found"
        assert plan(call("owner"), "vm.migrate", {}, web, status=403)["code"] == "forbidden"
        assert plan(call("owner"), "quota.change", {"vms": 99}, "acme", status=403)["code"] == "forbidden"
        assert plan(call("owner"), "vm.delete", {}, status=400)["errors"][0]["field"] == "target"
        assert plan(call("owner"), "vm.create", NEW, web, status=400)["errors"][0]["field"] == "target"

    def test_without_a_key_one_is_warned(self, call: Call) -> None:
        (warning,) = plan(call("owner"), "vm.create", {**NEW, "ssh_keys": []})["warnings"]
        assert "no SSH key" in warning

    def test_an_expiry_date_goes_along(self, call: Call) -> None:
        end = (timezone.now() + timedelta(days=9)).replace(microsecond=0)
        found = plan(call("owner"), "vm.create", {**NEW, "expires_at": end.isoformat()})
        assert apply(call("owner"), found).json()["vm"]["expires_at"] == end.isoformat().replace("+00:00", "Z")

    def test_prices_to_come_are_told(self, call: Call, priced: None) -> None:
        soon = (timezone.now() + timedelta(days=3)).isoformat()
        dearer = {**BOOK, "since": soon, "prices": [{"meter": "vcpu", "unit_price": "1"}]}
        assert call("admin").post("prices", dearer).status_code == 201
        (warning,) = plan(call("owner"), "vm.create", NEW)["warnings"]
        assert "730.00 EUR a month" in warning

    def test_a_token_that_may_not_read_prices_gets_none(self, world: World, priced: None) -> None:
        narrow = world.caller("owner", scopes=["quota:read", "vm:write", "image:read", "flavor:read"])
        assert plan(narrow, "vm.create", NEW)["price"] is None


class TestOthers:
    def test_resize(self, world: World, call: Call, priced: None) -> None:
        found = plan(call("owner"), "vm.resize", {"flavor": "large"}, world.machines["cold"].pk)
        before, after = found["quota"]["before"]["used"], found["quota"]["after"]["used"]
        assert [after[name] - before[name] for name in ("vms", "vcpus", "memory_mib", "disk_gib")] == [0, 1, 128, 1]
        assert found["price"]["hour"]["change"] == "0.005"  # off: a vCPU more, and a GiB of disk
        assert found["irreversible"] == ["Its disk grows from 1 to 2\u202fGiB, and cannot shrink again."]

    def test_resize_of_one_that_runs(self, world: World, call: Call) -> None:
        found = plan(call("owner"), "vm.resize", {"flavor": "large"}, world.machines["web"].pk)
        assert found["refusal"]["code"] == "wrong_state"

    def test_delete_into_the_bin_and_for_good(self, world: World, call: Call, priced: None) -> None:
        web = world.machines["web"]
        binned = plan(call("owner"), "vm.delete", {}, web.pk)
        assert binned["quota"]["after"] == binned["quota"]["before"]
        assert binned["price"]["hour"]["change"] == "-0.0115"
        gone = plan(call("owner"), "vm.delete", {"purge": True}, web.pk)
        assert gone["quota"]["before"]["used"]["vms"] - gone["quota"]["after"]["used"]["vms"] == 1
        assert gone["price"]["hour"]["change"] == "-0.012"
        assert "for good" in gone["irreversible"][0]
        web.refresh_from_db(from_queryset=VM.objects.unscoped("test"))
        assert web.status == "running"

    def test_clone(self, world: World, call: Call, priced: None) -> None:
        found = plan(call("owner"), "vm.clone", {"name": "copy", "mode": "linked"}, world.machines["cold"].pk)
        assert found["price"]["hour"]["change"] == "0.012", "it is on, unlike its source"
        assert found["quota"]["after"]["used"]["vms"] == 5

    def test_move_names_hosts(self, world: World, call: Call) -> None:
        two, web = world.neighbour(), world.machines["web"]
        found = plan(call("admin"), "vm.migrate", {}, web.pk)
        assert found["placement"]["host"] == two.name
        assert found["quota"]["after"] == found["quota"]["before"]
        answer = apply(call("admin"), found)
        assert answer.status_code == 202, answer.content
        operation = Operation.objects.unscoped("test").get(pk=answer.json()["operation"]["id"])
        assert operation.params["to"] == str(two.pk)

    def test_volumes(self, world: World, call: Call, priced: None) -> None:
        owner, admin, free = call("owner"), call("admin"), world.volume()
        new = plan(owner, "volume.create", {"name": "new", "size_gib": 5})
        assert new["price"]["hour"]["change"] == "0.005"
        assert new["quota"]["after"]["used"]["disk_gib"] - new["quota"]["before"]["used"]["disk_gib"] == 5
        assert (new["placement"]["storage_class"], new["placement"]["host"]) == ("standard", None)
        theirs = plan(admin, "volume.create", {"name": "new", "size_gib": 5, "tenant": "acme"})
        assert theirs["placement"]["host"] == "one"
        grown = plan(owner, "volume.grow", {"size_gib": 4}, free.pk)
        assert (grown["price"]["hour"]["change"], len(grown["irreversible"])) == ("0.002", 1)
        assert plan(owner, "volume.grow", {"size_gib": 1}, free.pk)["refusal"]["code"] == "disk_shrinks"
        gone = plan(owner, "volume.delete", {}, free.pk)
        assert gone["price"]["hour"]["change"] == "-0.002"
        answer = apply(owner, gone)
        assert (answer.status_code, answer.json()["volume"]["id"]) == (202, str(free.pk))
        assert apply(owner, new).json()["volume"]["size_gib"] == 5
        assert plan(call("foreign"), "volume.delete", {}, free.pk, status=404)["code"] == "not_found"

    def test_limits(self, world: World, call: Call) -> None:
        found = plan(call("admin"), "quota.change", {"vms": 2, "vcpus": 10**6}, "acme")
        assert found["quota"]["after"]["limits"]["vms"] == 2
        below, over = found["warnings"]
        assert below.startswith("VM: 4 are used of 2.")
        assert over.startswith("vCPU: all tenants together")
        assert call("owner").get("quotas/acme").json()["limits"]["vms"] == 10
        answer = apply(call("admin"), found)
        assert (answer.status_code, answer.json()["limits"]["vms"]) == (200, 2)


class TestApply:
    def test_it_is_the_call_itself_and_done_once(self, call: Call) -> None:
        owner = call("owner")
        found = plan(owner, "vm.create", NEW)
        answer = apply(owner, found)
        assert answer.status_code == 202, answer.content
        assert answer["Location"] == f"/api/v1/operations/{answer.json()['operation']['id']}"
        assert answer.json()["vm"]["name"] == "new"
        again = apply(owner, found).json()
        assert (again["code"], again["operation"]) == ("plan_applied", answer.json()["operation"]["id"])
        shown = owner.get(f"plans/{found['id']}").json()
        assert shown["applied_at"] is not None
        assert shown["operation"] == answer.json()["operation"]["id"]

    def test_not_after_ten_minutes(self, call: Call) -> None:
        owner = call("owner")
        found = plan(owner, "vm.create", NEW)
        Plan.objects.unscoped("test").update(expires_at=timezone.now())
        assert apply(owner, found).json()["code"] == "plan_expired"
        assert services.forget(timezone.now() + timedelta(hours=2)) == 1
        assert apply(owner, found).status_code == 404

    def test_not_at_another_price(self, call: Call, priced: None) -> None:
        owner = call("owner")
        found = plan(owner, "vm.create", NEW)
        own = {**BOOK, "tenant": "acme", "prices": [{"meter": "vcpu", "unit_price": "0.02"}]}
        assert call("admin").post("prices", own).status_code == 201
        before = counts()
        answer = apply(owner, found)
        assert answer.status_code == 409
        assert answer.json()["code"] == "plan_outdated"
        (words,) = answer.json()["changed"]
        assert (
            words
            == "It costs 0.022 EUR an hour and 16.06 a month more, and not 0.012 EUR an hour and 8.76 a month more."
        )
        assert counts() == before

    def test_what_is_full_by_now_is_refused_as_it_is_and_says_that_it_changed(self, world: World, call: Call) -> None:
        owner = call("owner")
        found = plan(owner, "vm.create", NEW)
        Quota.objects.filter(tenant=world.acme).update(vms=4)
        problem = apply(owner, found).json()
        assert (problem["code"], problem["changed"]) == ("quota_exceeded", ["It was possible when it was planned."])
        Quota.objects.filter(tenant=world.acme).update(vms=5)
        assert apply(owner, found).status_code == 202

    def test_what_was_refused_stays_so_until_something_changes(self, world: World, call: Call) -> None:
        owner, web = call("owner"), world.machines["web"]
        found = plan(owner, "vm.resize", {"flavor": "large"}, web.pk)
        refused = apply(owner, found).json()
        assert refused["detail"] == found["refusal"]["detail"]
        assert "changed" not in refused
        VM.objects.unscoped("test").filter(pk=web.pk).update(observed_power=Power.STOPPED)
        assert apply(owner, found).json()["code"] == "plan_outdated"

    def test_what_another_machine_takes_meanwhile_harms_nobody(self, call: Call) -> None:
        owner = call("owner")
        found = plan(owner, "vm.create", NEW)
        assert owner.post("vms", {**NEW, "name": "other"}).status_code == 202
        assert apply(owner, found).status_code == 202

    def test_rights_are_those_of_now(self, call: Call) -> None:
        member = call("member")
        found = plan(member, "vm.create", NEW)
        call("owner").put("tenants/acme/members/member", {"role": "viewer"})
        assert apply(member, found).json()["code"] == "forbidden"
        call("owner").delete("tenants/acme/members/member")
        assert apply(member, found).status_code == 404
