"""Backups and their targets by the API: what is refused, and what stands in the books."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from hosts.models import BackupTarget, StoragePool, TargetReach
from portal.operations.models import Operation, OperationHold
from portal.quotas.models import Claim, Quota
from tests.world import Caller, World
from vms.models import Backup, Layer, Lifecycle
from vms.services import pools

Call = Callable[..., Caller]


def path(world: World, name: str = "web") -> str:
    return f"vms/{world.machines[name].pk}/backups"


def held(backup_id: str) -> int:
    return sum(Claim.objects.filter(holder_id=backup_id, resource="backup_mib").values_list("amount", flat=True))


def pool_gib(world: World) -> int:
    """What is promised of the host's default pool."""
    promised: int = pools._promised([world.host.default_pool])[world.host.default_pool.pk]
    return promised


def end_operations() -> None:
    Operation.objects.unscoped("test").update(state="succeeded")


def test_one_is_accepted_and_holds_what_it_may_become(world: World, call: Call) -> None:
    world.target()
    answer = call("member").post(path(world), {})
    assert answer.status_code == 202
    backup = answer.json()["backup"]
    assert (backup["kind"], backup["status"], backup["target"]) == ("full", "running", "nas")
    assert backup["operation"]["kind"] == "vm.backup"
    assert held(backup["id"]) == backup["size_mib"] == 1024 + 1
    again = call("member").post(path(world), {})
    assert (again.status_code, again.json()["code"]) == (409, "operation_in_progress")


def test_the_next_stands_on_the_last(world: World, call: Call) -> None:
    first = world.backup()
    backup = call("member").post(path(world), {}).json()["backup"]
    assert (backup["kind"], backup["parent"], backup["why_full"]) == ("incremental", str(first.pk), "")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"damage": "it is broken"}, "damaged"),
        ({"counts_changes": False}, "format"),
    ],
)
def test_why_one_is_full(world: World, call: Call, facts: dict[str, Any], words: str) -> None:
    world.backup(**facts)
    backup = call("member").post(path(world), {}).json()["backup"]
    assert (backup["kind"], backup["parent"]) == ("full", None)
    assert words in backup["why_full"]


def test_a_full_one_that_was_asked_for_says_nothing(world: World, call: Call) -> None:
    world.backup()
    backup = call("member").post(path(world), {"full": True}).json()["backup"]
    assert (backup["kind"], backup["why_full"]) == ("full", "")


def test_without_a_target(world: World, call: Call) -> None:
    answer = call("member").post(path(world), {})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_backup_target")
    world.target()
    answer = call("member").post(path(world), {"target": "tape"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "target")
    TargetReach.objects.update(is_reached=False)
    answer = call("member").post(path(world), {})
    assert (answer.status_code, answer.json()["code"]) == (409, "target_unreachable")
    BackupTarget.objects.update(is_active=False)
    assert call("member").post(path(world), {}).json()["code"] == "no_backup_target"
    assert not Backup.objects.unscoped("test").exists()


def test_the_quota(world: World, call: Call) -> None:
    world.target()
    Quota.objects.filter(tenant=world.acme).update(backup_mib=1000)
    answer = call("member").post(path(world), {})
    assert (answer.status_code, answer.json()["code"]) == (409, "quota_exceeded")
    assert (answer.json()["resource"], answer.json()["requested"]) == ("backup_mib", 1025)
    assert not Backup.objects.unscoped("test").exists()


@pytest.mark.parametrize("body", [{"target": 5}, {"target": ["nas"]}, {"full": "perhaps"}, {"host": "one"}, [], "no"])
def test_bodies_that_are_none(world: World, call: Call, body: Any) -> None:
    world.target()
    assert call("member").post(path(world), body).status_code == 400


def test_a_machine_that_is_being_built(world: World, call: Call) -> None:
    world.target()
    vm = world.machines["web"]
    type(vm).objects.unscoped("test").filter(pk=vm.pk).update(lifecycle=Lifecycle.BUILDING)
    assert call("member").post(path(world), {}).json()["code"] == "wrong_state"


def test_lists_show_ones_own(world: World, call: Call) -> None:
    backup = world.backup()
    other = world.backup("foreign")
    found = call("viewer").get("backups").json()["results"]
    assert [each["id"] for each in found] == [str(backup.pk)]
    assert found[0]["actions"]["delete"] == {"allowed": False, "reason": found[0]["actions"]["delete"]["reason"]}
    assert found[0]["actions"]["delete"]["reason"]
    assert call("viewer").get(f"backups/{other.pk}").status_code == 404
    assert call("viewer").get(f"backups?vm={other.source_id}").json()["results"] == []
    assert call("viewer").get("backups?vm=no").status_code == 400


class TestRestore:
    def to(self, call: Call, backup: Backup, body: dict[str, Any] | None = None) -> Any:
        return call("member").post(f"backups/{backup.pk}/actions/restore", body or {})

    def test_in_place(self, world: World, call: Call) -> None:
        backup = world.backup()
        answer = self.to(call, backup)
        assert answer.status_code == 202
        assert answer.json()["vm"]["id"] == str(world.machines["web"].pk)
        assert answer.json()["operation"]["kind"] == "backup.restore"
        (kept,) = call("member").get(f"vms/{backup.vm_id}/snapshots").json()["results"]
        assert (kept["safety"], kept["status"]) == (True, "taking")

    def test_in_place_of_what_it_is(self, world: World, call: Call) -> None:
        backup = world.backup()
        assert self.to(call, backup, {"safety": False}).status_code == 202
        assert call("member").get(f"vms/{backup.vm_id}/snapshots").json()["results"] == []

    def test_where_there_is_no_room_beside_what_it_has(self, world: World, call: Call) -> None:
        backup, layers = world.backup(), Layer.objects.count()
        counted = {"checked_at": timezone.now(), "capacity_bytes": 2**30 + pool_gib(world) * 2**30 - 1}
        StoragePool.objects.filter(pk=world.host.default_pool.pk).update(**counted)
        answer = self.to(call, backup)
        assert (answer.status_code, answer.json()["code"]) == (409, "no_capacity")
        assert Layer.objects.count() == layers
        published = call("owner").post(f"vms/{world.machines['cold'].pk}/actions/publish", {"name": "Golden"})
        assert (published.status_code, published.json()["code"]) == (409, "no_capacity")
        StoragePool.objects.update(capacity_bytes=counted["capacity_bytes"] + 1)
        assert self.to(call, backup).status_code == 202

    def test_a_copy_that_is_being_published_counts_and_clones_and_new_machines_need_room_too(
        self, world: World, call: Call
    ) -> None:
        backup, before, cold = world.backup(), pool_gib(world), f"vms/{world.machines['cold'].pk}"
        assert call("owner").post(f"{cold}/actions/publish", {"name": "Golden"}).status_code == 202
        assert pool_gib(world) == before + world.machines["cold"].boot_volume.size_gib
        counted = {"checked_at": timezone.now(), "capacity_bytes": pool_gib(world) * 2**30}
        StoragePool.objects.filter(pk=world.host.default_pool.pk).update(**counted)
        for path, body in (
            (f"{cold}/actions/clone", {"name": "twin"}),
            (f"backups/{backup.pk}/actions/restore", {"name": "again"}),
        ):
            answer = call("owner").post(path, body)
            assert (answer.status_code, answer.json()["code"]) == (409, "no_capacity")
        end_operations()
        OperationHold.objects.update(is_active=False)
        assert pool_gib(world) == before
        assert call("owner").post(f"{cold}/actions/clone", {"name": "twin"}).status_code == 202

    def test_as_a_new_machine(self, world: World, call: Call) -> None:
        answer = self.to(call, world.backup(), {"name": "again"})
        assert answer.json()["vm"]["name"] == "again"
        assert answer.json()["vm"]["status"] == "building"
        end_operations()
        twice = self.to(call, world.backup(), {"name": "again"})
        assert (twice.status_code, twice.json()["errors"][0]["field"]) == (409, "name")

    @pytest.mark.parametrize("name", ["", " ", "a" * 64, "Übel", "a b", "-a", "../x", 5, None, ["x"]])
    def test_names_that_are_none(self, world: World, call: Call, name: Any) -> None:
        assert self.to(call, world.backup(), {"name": name}).status_code == 400

    def test_a_damaged_one(self, world: World, call: Call) -> None:
        backup = world.backup(damage="file 1 is missing.")
        for body in ({}, {"name": "again"}):
            answer = self.to(call, backup, body)
            assert (answer.status_code, answer.json()["code"]) == (409, "backup_damaged")
            assert "file 1 is missing" in answer.json()["detail"]

    def test_one_that_is_not_complete(self, world: World, call: Call) -> None:
        assert self.to(call, world.backup(state="running")).json()["code"] == "wrong_state"

    def test_one_whose_machine_is_gone(self, world: World, call: Call) -> None:
        backup = world.backup(vm=None)
        answer = self.to(call, backup)
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
        assert self.to(call, backup, {"name": "again"}).status_code == 202

    def test_where_no_host_reaches_it(self, world: World, call: Call) -> None:
        backup = world.backup()
        TargetReach.objects.update(is_reached=False)
        assert self.to(call, backup).status_code == 409
        answer = self.to(call, backup, {"name": "again"})
        assert (answer.status_code, answer.json()["code"]) == (409, "no_capacity")


class TestDelete:
    def test_one_that_others_stand_on_holds_them(self, world: World, call: Call) -> None:
        first = world.backup()
        second = world.backup(parent=first)
        assert call("member").delete(f"backups/{first.pk}").status_code == 202
        answer = call("member").post(f"backups/{second.pk}/actions/verify", {})
        assert (answer.status_code, answer.json()["code"]) == (409, "operation_in_progress")

    def test_a_damaged_one_that_others_stand_on(self, world: World, call: Call) -> None:
        first = world.backup(damage="it is broken")
        second = world.backup(parent=first, damage="it is broken")
        answer = call("member").delete(f"backups/{first.pk}")
        assert (answer.status_code, answer.json()["code"]) == (409, "backup_damaged")
        assert call("member").delete(f"backups/{second.pk}").status_code == 202


class TestTargets:
    @pytest.mark.parametrize("where", ["", "srv", "/", "/etc", "/srv/../etc", "/srv/\n", "/a" * 151, 5, None])
    def test_paths_that_are_none(self, world: World, call: Call, where: Any) -> None:
        answer = call("admin").post("backup-targets", {"slug": "tape", "path": where})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "path")

    def test_what_is_taken(self, world: World, call: Call) -> None:
        world.target()
        for body, field in (({"slug": "nas", "path": "/srv/x"}, "slug"), ({"slug": "x", "path": "/srv/nas"}, "path")):
            answer = call("admin").post("backup-targets", body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, field)

    def test_one_with_backups_stays(self, world: World, call: Call) -> None:
        world.backup()
        answer = call("admin").delete("backup-targets/nas")
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
        assert BackupTarget.objects.exists()

    def test_the_default_is_handed_on(self, world: World, call: Call) -> None:
        world.target()
        world.target("tape")
        assert call("admin").patch("backup-targets/nas", {"default": False}).status_code == 400
        assert call("admin").patch("backup-targets/tape", {"default": True}).json()["default"] is True
        assert call("admin").get("backup-targets/nas").json()["default"] is False

    def test_tenants_see_what_they_may_choose(self, world: World, call: Call) -> None:
        world.target()
        world.target("tape")
        world.target("old")
        TargetReach.objects.filter(target__slug="tape").update(is_reached=False)
        BackupTarget.objects.filter(slug="old").update(is_active=False)
        seen = call("viewer").get("backup-targets").json()["results"]
        assert [(each["slug"], each["reached"]) for each in seen] == [("nas", True), ("tape", False)]
        assert not {"path", "hosts"} & {name for each in seen for name in each}
        assert call("viewer").get("backup-targets/old").status_code == 404
        (staff, *_) = call("admin").get("backup-targets").json()["results"]
        assert (staff["path"], len(staff["hosts"])) == ("/srv/nas", 1)
