"""The bin: what is deleted can be brought back as it was, and goes for good when its time is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from hosts.connections import driver_for
from portal.operations import engine
from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.operations.states import State
from portal.quotas.models import Claim
from tests.audit.mirror import mirrored
from tests.world import Caller, World
from vms.audit.run import audit
from vms.models import VM, Layer, Volume
from vms.services import bin
from vms.workflows.delete import DELETE

Api = Callable[..., Caller]


def fresh(vm: VM) -> VM:
    return VM.objects.unscoped("test").get(pk=vm.pk)


def work() -> Operation:
    """A worker does what waits; the operation it ended."""
    operation = Operation.objects.unscoped("test").filter(state=State.QUEUED).earliest("created_at")
    engine.run(operation.pk)
    operation.refresh_from_db(from_queryset=Operation.objects.unscoped("test"))
    return operation


@pytest.fixture
def web(world: World) -> VM:
    Operation.objects.unscoped("test").all().delete()
    mirrored(world)
    return world.machines["web"]


@pytest.fixture
def binned(web: VM, call: Api) -> VM:
    assert call("member").delete(f"vms/{web.pk}").status_code == 202
    assert work().state == State.SUCCEEDED
    return web


def names(call: Api, query: str = "") -> list[str]:
    return [vm["name"] for vm in call("member").get(f"vms{query}").json()["results"]]


class TestIn:
    def test_it_says_until_when(self, web: VM, call: Api) -> None:
        answer = call("member").delete(f"vms/{web.pk}").json()
        assert (answer["operation"]["kind"], answer["vm"]["status"]) == ("vm.delete", "deleting")
        left = fresh(web).purge_at - timezone.now()  # type: ignore[operator]
        assert timedelta(hours=23.9) < left <= timedelta(hours=24)

    def test_its_time_begins_when_it_is_there(self, web: VM, call: Api) -> None:
        """Its host was away for longer than that."""
        call("member").delete(f"vms/{web.pk}")
        VM.objects.unscoped("test").filter(pk=web.pk).update(purge_at=timezone.now() - timedelta(days=2))
        work()
        left = fresh(web).purge_at - fresh(web).binned_at  # type: ignore[operator]
        assert left == timedelta(hours=24)

    def test_it_is_off_and_whole_and_keeps_what_it_holds(self, world: World, binned: VM) -> None:
        state = driver_for(world.host).state(binned.pk)
        assert state is not None
        assert state.power == "stopped"
        assert driver_for(world.host).volume("berth", binned.boot_volume.layer.file_name) is not None
        assert Claim.objects.filter(holder_id=binned.pk, account_id=world.acme.pk, resource="vms").exists()
        assert [finding for finding in audit() if "web" in finding.detail] == []

    def test_it_is_left_out_of_lists_unless_asked_for(self, binned: VM, call: Api) -> None:
        assert "web" not in names(call)
        assert names(call, "?bin=true") == ["web"]
        shown = call("member").get(f"vms/{binned.pk}").json()
        assert shown["status"] == "deleting"
        assert shown["purge_at"]
        allowed = {name for name, verdict in shown["actions"].items() if verdict["allowed"]}
        assert allowed == {"restore", "purge"}

    @pytest.mark.parametrize("action", ["start", "console", "rename", "delete", "schedule"])
    def test_nothing_else_is_done_with_it(self, binned: VM, call: Api, action: str) -> None:
        path, member = f"vms/{binned.pk}", call("member")
        schedule = {"kind": "snapshot", "every": "daily", "at": "03:00", "keep": {"last": 1}}
        answer = {
            "start": lambda: member.post(f"{path}/actions/start"),
            "console": lambda: member.post(f"{path}/console", {"kind": "serial"}),
            "rename": lambda: member.patch(path, {"name": "new"}),
            "delete": lambda: member.delete(path),
            "schedule": lambda: member.post(f"{path}/schedules", schedule),
        }[action]()
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
        assert "bin" in answer.json()["detail"]

    def test_a_protected_one_is_not_binned(self, web: VM, call: Api) -> None:
        call("member").patch(f"vms/{web.pk}", {"protected": True})
        for query in ("", "?purge=true"):
            assert call("member").delete(f"vms/{web.pk}{query}").json()["code"] == "protected"

    @pytest.mark.parametrize("query", ["?purge=yes", "?purge=", "?bin=1", "?hours=3"])
    def test_nonsense(self, web: VM, call: Api, query: str) -> None:
        assert call("member").delete(f"vms/{web.pk}{query}").status_code == 400
        assert fresh(web).lifecycle == "ready"

    def test_at_once_by_request_and_where_there_is_no_bin(self, web: VM, call: Api, settings: Any) -> None:
        answer = call("member").delete(f"vms/{web.pk}?purge=true").json()
        assert answer["operation"]["kind"] == "vm.purge"
        assert answer["vm"]["purge_at"] is None
        settings.BIN_HOURS = 0
        cold = call("member").get("vms?search=cold").json()["results"][0]["id"]
        assert call("member").delete(f"vms/{cold}").json()["operation"]["kind"] == "vm.purge"


class TestOut:
    def test_it_comes_back_as_it_was(self, world: World, binned: VM, call: Api) -> None:
        nic, disk = binned.nics.get(), binned.boot_volume.layer_id
        answer = call("member").post(f"vms/{binned.pk}/actions/restore")
        assert (answer.status_code, answer.json()["operation"]["kind"]) == (202, "vm.restore")
        assert work().state == State.SUCCEEDED
        back = fresh(binned)
        assert (back.status, back.name, back.purge_at) == ("running", "web", None)
        assert (back.nics.get().mac, back.nics.get().ip, back.boot_volume.layer_id) == (nic.mac, nic.ip, disk)
        assert "web" in names(call)

    @pytest.mark.parametrize("name", ["cold", "paused"])
    def test_on_or_off_as_it_was(self, world: World, web: VM, call: Api, name: str) -> None:
        vm = world.machines[name]
        before = vm.status
        call("member").delete(f"vms/{vm.pk}")
        work()
        call("member").post(f"vms/{vm.pk}/actions/restore")
        assert work().state == State.SUCCEEDED
        assert fresh(vm).status == before

    def test_its_name_is_free_meanwhile_and_then_it_takes_another(self, world: World, binned: VM, call: Api) -> None:
        body = {"name": "web", "image": "tiny", "flavor": "small", "tenant": "acme"}
        assert call("member").post("vms", body).status_code == 202
        refusal = call("member").post(f"vms/{binned.pk}/actions/restore").json()
        assert (refusal["code"], refusal["errors"][0]["field"]) == ("duplicate", "name")
        assert fresh(binned).is_binned
        answer = call("member").post(f"vms/{binned.pk}/actions/restore", {"name": "web-2"})
        assert (answer.status_code, answer.json()["vm"]["name"]) == (202, "web-2")

    def test_one_that_was_lost_meanwhile_goes_back_to_the_bin(self, world: World, binned: VM, call: Api) -> None:
        driver_for(world.host).delete_volume("berth", binned.boot_volume.layer.file_name)
        call("member").post(f"vms/{binned.pk}/actions/restore", {"name": "again"})
        assert work().state == State.FAILED
        back = fresh(binned)
        assert (back.is_binned, back.status, back.name) == (True, "deleting", "web")
        assert back.purge_at == binned_until(binned)

    def test_what_is_not_in_the_bin_is_neither_restored_nor_purged(self, web: VM, call: Api) -> None:
        for action in ("restore", "purge"):
            answer = call("member").post(f"vms/{web.pk}/actions/{action}")
            assert answer.json()["detail"] == "It is not in the bin."


def binned_until(vm: VM) -> Any:
    params = Operation.objects.unscoped("test").filter(kind="vm.restore").latest("created_at").params
    return timezone.datetime.fromisoformat(params["purge_at"])


class TestEnd:
    def test_purge_leaves_nothing(self, world: World, binned: VM, call: Api) -> None:
        layer = binned.boot_volume.layer
        call("member").post(f"vms/{binned.pk}/actions/purge")
        assert work().state == State.SUCCEEDED
        assert not VM.objects.unscoped("test").filter(pk=binned.pk).exists()
        assert not Claim.objects.filter(holder_id=binned.pk).exists()
        assert not Layer.objects.filter(pk=layer.pk).exists()
        assert driver_for(world.host).volume("berth", layer.file_name) is None
        assert driver_for(world.host).state(binned.pk) is None

    def test_when_its_time_is_over_and_not_before(self, binned: VM) -> None:
        bin.empty(fresh(binned).purge_at - timedelta(seconds=1))  # type: ignore[operator]
        assert active_on("vm", binned.pk) is None
        bin.empty(fresh(binned).purge_at)  # type: ignore[arg-type]
        operation = active_on("vm", binned.pk)
        assert operation is not None
        assert (operation.kind, operation.source) == ("vm.purge", "system")
        bin.empty(fresh(binned).purge_at)  # type: ignore[arg-type]  # another one, at the same moment
        assert Operation.objects.unscoped("test").filter(kind="vm.purge").count() == 1

    def test_those_that_are_refused_hold_up_no_other(
        self, world: World, binned: VM, call: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cold = world.machines["cold"]
        call("member").delete(f"vms/{cold.pk}")
        work()
        call("member").post(f"vms/{binned.pk}/actions/purge")
        monkeypatch.setattr(bin, "MOST_AT_ONCE", 1)
        bin.empty(fresh(cold).purge_at)  # type: ignore[arg-type]
        operation = active_on("vm", cold.pk)
        assert operation is not None
        assert operation.kind == "vm.purge"

    def test_data_volumes_outlive_it(self, world: World, binned: VM, call: Api) -> None:
        pool = binned.boot_volume.layer.pool
        layer = Layer.objects.create(pool=pool, size_gib=1)
        driver_for(world.host).ensure_volume("berth", layer.file_name, 2**30)
        data = Volume.objects.create(tenant=world.acme, name="data", size_gib=1, layer=layer, vm=binned, target="vdb")
        call("member").post(f"vms/{binned.pk}/actions/purge")
        assert work().state == State.SUCCEEDED
        data.refresh_from_db(from_queryset=Volume.objects.unscoped("test"))
        assert (data.vm_id, data.target) == (None, "")
        assert driver_for(world.host).volume("berth", layer.file_name) is not None

    def test_what_a_clone_stands_on_stays(self, world: World, binned: VM, call: Api) -> None:
        """A linked clone of it: its file stands on one of the machine's."""
        own = binned.boot_volume.layer
        clone = world.machines["cold"].boot_volume.layer
        Layer.objects.filter(pk=clone.pk).update(parent=own, image=None)
        call("member").post(f"vms/{binned.pk}/actions/purge")
        assert work().state == State.SUCCEEDED
        assert Layer.objects.filter(pk=own.pk).exists()
        assert driver_for(world.host).volume("berth", own.file_name) is not None

    def test_a_journal_from_before_there_was_a_bin_goes_on_to_its_end(self, web: VM, call: Api) -> None:
        """It was accepted as a deletion for good."""
        operation = Operation.objects.unscoped("test").get(pk=_deletion_of_version_2(web, call))
        engine.run(operation.pk)
        operation.refresh_from_db(from_queryset=Operation.objects.unscoped("test"))
        assert operation.state == State.SUCCEEDED
        assert [step.state for step in operation.steps.all()] == ["done"] * 3
        assert not VM.objects.unscoped("test").filter(pk=web.pk).exists()


def _deletion_of_version_2(vm: VM, call: Api) -> str:
    id = str(call("member").delete(f"vms/{vm.pk}").json()["operation"]["id"])
    rows = Operation.objects.unscoped("test").filter(pk=id)
    rows.update(version=2)
    VM.objects.unscoped("test").filter(pk=vm.pk).update(purge_at=None)
    for position, step in enumerate(DELETE.former, start=1):
        rows.get().steps.create(position=position, name=step.name, title=step.title)
    return id
