"""Volumes through the API, over a host in memory: what is asked for is there, in the guest and in the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hosts.driver import errors
from hosts.driver.types import DiskLimits
from hosts.models import StorageClass, StoragePool
from portal.operations.models import Operation
from tests.volumes.conftest import Bench
from vms.models import VM, Layer, Volume

pytestmark = pytest.mark.django_db
GIB = 1024**3
Refused = Callable[..., dict[str, Any]]


def test_a_life(bench: Bench) -> None:
    before = bench.used()
    volume = bench.create()
    assert bench.used() == (before[0] + 2, before[1] + 2)
    assert bench.host.volumes["berth", volume.layer.file_name].capacity_bytes == 2 * GIB
    volume = bench.act(volume, "attach", {"vm": "web"})
    own = ("berth", volume.layer.file_name)
    assert (volume.vm, volume.target) == (bench.web, "vdb")
    assert bench.disks(bench.web)["vdb"] == bench.defined(bench.web)["vdb"] == own
    volume = bench.act(volume, "grow", {"size_gib": 5})
    assert (volume.size_gib, volume.layer.size_gib) == (5, 5)
    assert bench.host.volumes[own].capacity_bytes == 5 * GIB
    assert bench.used() == (before[0] + 5, before[1] + 5)
    assert bench.is_clean()
    volume = bench.act(volume, "detach")
    assert (volume.vm, volume.target) == (None, "")
    assert set(bench.disks(bench.web)) == set(bench.defined(bench.web)) == {"vda"}
    volume = bench.act(volume, "attach", {"vm": str(bench.world.machines["cold"].pk)})
    assert bench.defined(bench.world.machines["cold"])["vdb"] == own
    bench.act(volume, "detach")
    bench.succeed(bench.delete(f"/volumes/{volume.pk}").json())
    assert own not in bench.host.volumes
    assert bench.used() == before
    assert not Volume.objects.unscoped("test").filter(pk=volume.pk).exists()
    assert bench.is_clean()


def test_made_for_a_machine_it_is_attached_at_once(bench: Bench) -> None:
    volume = bench.create(vm="web", storage_class="fast")
    assert bench.disks(bench.web)["vdb"] == ("fast", volume.layer.file_name)
    running = bench.host.running[bench.web.pk]["vdb"]
    assert running.limits == DiskLimits(read_iops=500, write_bytes=20 * 1024**2)
    assert running.serial == volume.serial
    assert bench.is_clean()


def test_what_a_volume_shows(bench: Bench) -> None:
    volume = bench.create(vm="web", storage_class="fast")
    shown = bench.get(f"/volumes/{volume.pk}").json()
    assert shown["vm"] == {"id": str(bench.web.pk), "name": "web"}
    assert shown["device"] == f"/dev/disk/by-id/virtio-{volume.pk.hex[-20:]}"
    assert len(volume.serial) == 20
    assert (shown["status"], shown["storage_class"], shown["target"], shown["pool"]) == (
        "attached",
        "fast",
        "vdb",
        None,
    )
    assert shown["limits"] == {"read_iops": 500, "write_iops": None, "read_mib_s": None, "write_mib_s": 20}
    allowed = {name for name, verdict in shown["actions"].items() if verdict["allowed"]}
    assert allowed == {"detach", "grow", "move", "rename"}
    listed = bench.get(f"/volumes?vm={bench.web.pk}").json()["results"]
    assert [each["name"] for each in listed] == ["data", "boot"]
    assert bench.get("/volumes?attached=false").json()["results"] == []


@pytest.mark.parametrize("machine", ["web", "cold", "paused", ""])
def test_it_moves_to_another_class(bench: Bench, machine: str) -> None:
    volume = bench.create(**({"vm": machine} if machine else {}))
    old = volume.layer
    volume = bench.act(volume, "move", {"storage_class": "fast"})
    own = ("fast", volume.layer.file_name)
    assert volume.layer.pool.name == "fast"
    assert own in bench.host.volumes
    assert ("berth", old.file_name) not in bench.host.volumes
    assert not Layer.objects.filter(pk=old.pk).exists()
    if machine:
        vm = bench.world.machines[machine]
        assert bench.defined(vm)["vdb"] == own
        if machine != "cold":
            assert bench.disks(vm)["vdb"] == own
            assert bench.host.running[vm.pk]["vdb"].limits.read_iops == 500
    assert bench.is_clean()


def test_the_disk_that_a_machine_starts_from_moves_and_grows(bench: Bench) -> None:
    before = bench.used()
    boot = bench.web.boot_volume
    boot = bench.act(boot, "move", {"storage_class": "fast"})
    assert bench.host.volumes["fast", boot.layer.file_name].backing is None
    assert boot.layer.image is None
    bench.act(boot, "grow", {"size_gib": 4})
    assert bench.web.disk_gib == 4
    assert bench.used() == (before[0] + 3, before[1] + 3)
    assert bench.is_clean()


def test_an_administrator_moves_to_a_pool_of_the_same_class(bench: Bench, refused: Refused) -> None:
    volume = bench.create(storage_class="fast")
    more = StoragePool.objects.get(name="fast")
    other = StoragePool.objects.create(
        host=more.host,
        storage_class=more.storage_class,
        name="fast-2",
        path="/srv/fast-2",
        checked_at=more.checked_at,
        capacity_bytes=more.capacity_bytes,
    )
    bench.host.pools["fast-2"] = bench.host.pools["fast"].parent / "fast-2"
    path = f"/volumes/{volume.pk}/actions/move"
    assert refused(path, {"pool": "fast-2"}, 403)["code"] == "forbidden"
    bench.api = bench.world.caller("admin")
    volume = bench.act(volume, "move", {"pool": "fast-2"})
    assert volume.layer.pool == other
    assert refused(path, {"pool": "nowhere"}, 400)["errors"][0]["field"] == "pool"


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"size_gib": 0}, 400, "size_gib"),
        ({"size_gib": -1}, 400, "size_gib"),
        ({"size_gib": 65537}, 400, "size_gib"),
        ({"size_gib": "2"}, 400, "size_gib"),
        ({"size_gib": 1.5}, 400, "size_gib"),
        ({"size_gib": 10**30}, 400, "size_gib"),
        ({"name": ""}, 400, "name"),
        ({"name": "a\u202eb"}, 400, "name"),
        ({"name": "x" * 64}, 400, "name"),
        ({"storage_class": "none"}, 400, "storage_class"),
        ({"vm": "none"}, 400, "vm"),
        ({"vm": "../../etc"}, 400, "vm"),
        ({"tenant": "beta"}, 400, "tenant"),
        ({"is_boot": True}, 400, "is_boot"),
        ({"size_gib": 300}, 409, "size_gib"),
    ],
)
def test_a_volume_that_cannot_be(bench: Bench, refused: Refused, body: dict[str, Any], status: int, field: str) -> None:
    problem = refused("/volumes", {"name": "data", "size_gib": 2, "tenant": "acme", **body}, status)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert Volume.objects.unscoped("test").filter(is_boot=False).count() == 0


def test_another_tenants_machine_is_none(bench: Bench, refused: Refused) -> None:
    foreign = bench.world.vm("theirs", tenant=bench.world.beta)
    refused("/volumes", {"name": "data", "size_gib": 1, "tenant": "acme", "vm": str(foreign.pk)}, 400)
    volume = bench.create()
    refused(f"/volumes/{volume.pk}/actions/attach", {"vm": str(foreign.pk)}, 400)


def test_the_state_is_in_the_way(bench: Bench, refused: Refused) -> None:
    boot, data = bench.web.boot_volume, bench.create(vm="web")
    for volume, action, body, words in (
        (boot, "detach", {}, "starts from it"),
        (data, "attach", {"vm": "cold"}, "attached to web"),
        (data, "grow", {"size_gib": 2}, "cannot shrink"),
        (data, "grow", {"size_gib": 1}, "cannot shrink"),
        (data, "move", {"storage_class": "standard"}, "of this class already"),
        (data, "move", {}, "to which"),
    ):
        status = 400 if "shrink" in words or "class" in words or "which" in words else 409
        problem = refused(f"/volumes/{volume.pk}/actions/{action}", body, status)
        assert words in str(problem), problem
    answer = bench.delete(f"/volumes/{data.pk}")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    free = bench.create(name="free")
    assert "no machine" in str(refused(f"/volumes/{free.pk}/actions/detach", {}))


def test_a_paused_guest_cannot_let_go(bench: Bench, refused: Refused) -> None:
    volume = bench.create(vm="paused")
    assert "Resume" in refused(f"/volumes/{volume.pk}/actions/detach", {})["detail"]


def test_what_is_under_way_is_in_the_way_of_both(bench: Bench, refused: Refused) -> None:
    volume = bench.create(vm="web")
    accepted = bench.post(f"/volumes/{volume.pk}/actions/detach", {}).json()
    for path, body in (
        (f"/vms/{bench.web.pk}/actions/stop", {}),
        (f"/volumes/{volume.pk}/actions/grow", {"size_gib": 9}),
        (f"/volumes/{bench.web.boot_volume.pk}/actions/grow", {"size_gib": 9}),
        (f"/volumes/{volume.pk}/actions/detach", {}),
    ):
        problem = refused(path, body)
        assert (problem["code"], problem["operation"]) == ("operation_in_progress", accepted["operation"]["id"])
    assert bench.get(f"/volumes/{volume.pk}").json()["status"] == "detaching"
    bench.succeed(accepted)


def test_it_lies_on_another_host(bench: Bench, refused: Refused) -> None:
    volume, vm = bench.create(), bench.world.machines["cold"]
    from tests.world import make_host

    VM.objects.unscoped("test").filter(pk=vm.pk).update(host=make_host("two"))
    assert refused(f"/volumes/{volume.pk}/actions/attach", {"vm": "cold"})["code"] == "other_host"


def test_a_machine_has_so_many_at_most(bench: Bench, refused: Refused) -> None:
    for number in range(8):
        bench.create(name=f"data-{number}", vm="web", size_gib=1)
    problem = refused("/volumes", {"name": "one-more", "size_gib": 1, "tenant": "acme", "vm": "web"})
    assert problem["code"] == "too_many"
    assert len(bench.disks(bench.web)) == 9


def test_storage_that_is_full_or_of_no_use(bench: Bench, refused: Refused) -> None:
    StoragePool.objects.filter(name="fast").update(capacity_bytes=3 * GIB)
    volume = bench.create(storage_class="fast")
    body = {"name": "more", "size_gib": 2, "tenant": "acme", "storage_class": "fast"}
    assert refused("/volumes", body)["code"] == "no_capacity"
    assert refused(f"/volumes/{volume.pk}/actions/grow", {"size_gib": 4})["code"] == "no_capacity"
    standard = bench.create(name="standard")
    assert refused(f"/volumes/{standard.pk}/actions/move", {"storage_class": "fast"})["code"] == "no_capacity"
    StoragePool.objects.filter(name="fast").update(capacity_bytes=512 * GIB, kind="logical")
    assert refused("/volumes", body)["code"] == "no_capacity"
    StoragePool.objects.filter(name="fast").update(kind="dir", error="not mounted")
    assert refused("/volumes", body)["code"] == "no_capacity"
    StorageClass.objects.filter(slug="fast").update(is_active=False)
    assert refused("/volumes", body, 400)["errors"][0]["field"] == "storage_class"


# -- what goes wrong on the host ---------------------------------------------------------------------------------


def test_a_guest_that_keeps_its_disk_is_told(bench: Bench) -> None:
    volume = bench.create(vm="web")
    bench.host.deaf.add(bench.web.pk)
    operation = bench.run(bench.post(f"/volumes/{volume.pk}/actions/detach", {}).json()["operation"]["id"])
    assert operation.status == "failed"
    assert operation.error is not None
    assert operation.error["code"] == "guest_kept_disk"
    assert bench.volume(str(volume.pk)).vm == bench.web
    assert bench.is_clean()
    bench.host.deaf.clear()
    assert bench.act(volume, "detach").vm is None


@pytest.mark.parametrize("call", ["ensure_volume", "define", "attach_disk"])
def test_a_creation_that_fails_leaves_nothing(bench: Bench, call: str) -> None:
    before = bench.used()
    bench.host.fail_next(call, errors.NoSpace("full"))
    body = {"name": "data", "size_gib": 2, "tenant": "acme", "vm": "web"}
    operation = bench.run(bench.post("/volumes", body).json()["operation"]["id"])
    assert operation.status == "failed"
    assert bench.used() == before
    assert Volume.objects.unscoped("test").filter(is_boot=False).count() == 0
    assert set(bench.disks(bench.web)) == set(bench.defined(bench.web)) == {"vda"}
    assert bench.is_clean()


@pytest.mark.parametrize("machine", ["web", "cold"])
def test_a_move_that_fails_leaves_it_where_it_was(bench: Bench, machine: str) -> None:
    volume = bench.create(vm=machine)
    bench.host.fail_next("move_disk" if machine == "web" else "copy_volume", errors.NoSpace("full"))
    path = f"/volumes/{volume.pk}/actions/move"
    operation = bench.run(bench.post(path, {"storage_class": "fast"}).json()["operation"]["id"])
    assert operation.error is not None
    assert (operation.status, operation.error["code"]) == ("failed", "no_space")
    assert bench.volume(str(volume.pk)).layer == volume.layer
    assert bench.defined(bench.world.machines[machine])["vdb"] == ("berth", volume.layer.file_name)
    assert [pool for pool, _ in bench.host.volumes if pool == "fast"] == []
    assert bench.is_clean()


def test_an_old_file_that_cannot_be_removed_is_nobodys(bench: Bench) -> None:
    volume = bench.create(vm="web")
    bench.host.fail_next("delete_volume", errors.DriverError("no"))
    moved = bench.act(volume, "move", {"storage_class": "fast"})
    assert moved.layer.pool.name == "fast"
    bench.host.volumes.pop(("berth", volume.layer.file_name))
    assert bench.is_clean()


def test_a_machine_that_is_switched_off_meanwhile_moves_all_the_same(bench: Bench) -> None:
    volume = bench.create(vm="web")
    bench.host.fail_next("move_disk", errors.InvalidState("it is off"))
    assert bench.act(volume, "move", {"storage_class": "fast"}).layer.pool.name == "fast"


def test_a_disk_that_cannot_grow_holds_no_more_than_before(bench: Bench) -> None:
    volume, before = bench.create(vm="web"), bench.used()
    bench.host.fail_next("grow_disk", errors.DriverError("no"))
    path = f"/volumes/{volume.pk}/actions/grow"
    operation = bench.run(bench.post(path, {"size_gib": 9}).json()["operation"]["id"])
    assert operation.status == "failed"
    assert bench.used() == (before[0], before[1])
    assert bench.volume(str(volume.pk)).size_gib == 2
    assert bench.is_clean()


def test_fences_rise_over_all_that_define_a_machine(bench: Bench) -> None:
    """Attaching defines the machine anew, and so do a machine's own operations: none looks like an older one."""
    for action in ("stop", "start"):
        bench.succeed(bench.post(f"/vms/{bench.web.pk}/actions/{action}", {}).json())
    volume = bench.create(vm="web")
    bench.succeed(bench.post(f"/vms/{bench.web.pk}/actions/stop", {}).json())
    bench.act(volume, "detach")
    fences = list(Operation.objects.unscoped("test").order_by("created_at").values_list("fence", flat=True))
    assert fences == sorted(set(fences))


def test_volumes_outlive_their_machine(bench: Bench) -> None:
    volume = bench.create(vm="cold")
    bench.world.machines["cold"].refresh_from_db()
    answer = bench.delete(f"/vms/{bench.world.machines['cold'].pk}")
    bench.succeed(answer.json())
    left = bench.volume(str(volume.pk))
    if VM.objects.unscoped("test").filter(pk=bench.world.machines["cold"].pk).exists():
        pytest.skip("it is in the bin, and keeps what it had")
    assert (left.vm, left.target) == (None, "")
    assert ("berth", volume.layer.file_name) in bench.host.volumes
    assert bench.is_clean()


def test_a_list_takes_no_more_queries_for_more_volumes(bench: Bench, django_assert_max_num_queries: Any) -> None:
    for number in range(6):
        bench.create(name=f"data-{number}", size_gib=1, **({"vm": "web"} if number % 2 else {}))
    with django_assert_max_num_queries(12):
        assert len(bench.get("/volumes?tenant=acme").json()["results"]) == 10


@pytest.fixture
def survivor(bench: Bench) -> Volume:
    """A volume of a machine that had a snapshot and is gone: it stands on a layer that was frozen for that."""
    volume = bench.create(vm="web")
    bench.succeed(bench.post(f"/vms/{bench.web.pk}/snapshots", {"name": "one"}).json())
    bench.succeed(bench.delete(f"/vms/{bench.web.pk}?purge=true").json())
    volume = bench.volume(str(volume.pk))
    assert volume.layer.parent is not None
    assert ("berth", volume.layer.parent.file_name) in bench.host.volumes
    assert bench.is_clean()
    return volume


def test_what_only_it_stands_on_goes_with_it(bench: Bench, survivor: Volume) -> None:
    layer = survivor.layer
    bench.succeed(bench.delete(f"/volumes/{survivor.pk}").json())
    assert not {("berth", layer.file_name), ("berth", layer.parent.file_name)} & set(bench.host.volumes)
    assert not Layer.objects.filter(pk__in=[layer.pk, layer.parent_id]).exists()
    assert bench.is_clean()


def test_what_only_it_stood_on_goes_when_it_moves(bench: Bench, survivor: Volume) -> None:
    old = survivor.layer
    survivor = bench.act(survivor, "move", {"storage_class": "fast"})
    assert survivor.layer.parent is None
    assert not {("berth", old.file_name), ("berth", old.parent.file_name)} & set(bench.host.volumes)
    assert not Layer.objects.filter(pk__in=[old.pk, old.parent_id]).exists()
    assert bench.is_clean()


def test_what_others_stand_on_too_stays(bench: Bench, survivor: Volume) -> None:
    base = survivor.layer.parent
    other = Layer.objects.create(pool=base.pool, parent=base, size_gib=base.size_gib)
    Volume.objects.create(tenant=survivor.tenant, name="other", size_gib=other.size_gib, layer=other)
    bench.succeed(bench.delete(f"/volumes/{survivor.pk}").json())
    assert ("berth", base.file_name) in bench.host.volumes
    assert Layer.objects.filter(pk=base.pk).exists()


def test_of_a_machine_in_the_bin_it_says_until_when(bench: Bench, refused: Refused) -> None:
    volume = bench.create(vm="web")
    bench.succeed(bench.delete(f"/vms/{bench.web.pk}").json())
    purge_at = bench.web.purge_at
    assert purge_at is not None
    words = f"Its machine is in the bin until {purge_at:%Y-%m-%d %H:%M} UTC. "
    assert refused(f"/volumes/{volume.pk}/actions/detach", {})["detail"].startswith(words)
    shown = bench.get(f"/volumes/{volume.pk}").json()["actions"]
    assert all(shown[name]["reason"].startswith(words) for name in ("detach", "grow", "move", "delete"))
    assert shown["rename"]["allowed"]
