"""`./run reset` on hosts: what is ours goes, what is not stays."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command

from hosts.connections import driver_for
from hosts.driver.memory import MemoryHost
from hosts.driver.types import DiskSpec, PowerState
from hosts.models import BackupTarget, Host, StorageClass, StoragePool
from tests.audit.mirror import mirrored
from tests.audit.test_audit import guest, volume
from tests.world import World, make_host
from vms.management.commands import wipe_hosts

pytestmark = pytest.mark.django_db
NOTHING = wipe_hosts.Left([], [], False, [])
DISK, BASE = f"{uuid4()}.qcow2", f"{uuid4()}.qcow2"


@pytest.fixture
def host(world: World) -> MemoryHost:
    return mirrored(world)


def test_nothing_of_ours_stays(world: World, host: MemoryHost) -> None:
    memory = world.snapshot(memory_pool=world.host.default_pool).memory_volume
    host.volumes["berth", memory] = volume(memory)
    call_command("wipe_hosts")
    assert (host.domains, host.volumes, host.pools, host.networks) == ({}, {}, {}, {})


def test_added_pools_and_those_of_backup_targets_go_and_backups_stay(world: World, host: MemoryHost) -> None:
    target, elsewhere = world.target(), world.target("elsewhere")
    driver = driver_for(world.host)
    StoragePool.objects.create(host=world.host, name="fast", path="/srv/fast", storage_class=StorageClass.objects.get())
    for name, path in (("fast", "/srv/fast"), (target.pool_name, target.path), (elsewhere.pool_name, "/srv/theirs")):
        driver.ensure_pool(name, Path(path))
    host.volumes[target.pool_name, "backup.qcow2"] = volume("backup.qcow2")
    out = io.StringIO()
    call_command("wipe_hosts", stdout=out)
    assert set(host.pools) == {elsewhere.pool_name}
    assert set(host.volumes) == {(target.pool_name, "backup.qcow2")}
    assert out.getvalue() == "one: the backups in /srv/nas (NAS) stay\n"


@pytest.mark.parametrize(
    ("uri", "path", "words"),
    [
        ("qemu:///system", "/var/tmp/berth-x/shared/nas", ""),
        ("qemu:///system", "/var/lib/libvirt/nas", "one: the backups in /var/lib/libvirt/nas (NAS) stay\n"),
        ("qemu+unix:///system?socket=/var/tmp/berth-x/h1/sock", "/var/lib/libvirt/nas", ""),
        (
            "qemu+unix:///system?socket=/var/tmp/berth-x/h1/sock",
            "/srv/nas",
            "one: the backups in /srv/nas (NAS) stay\n",
        ),
    ],
    ids=["in the lab", "on a host", "inside a host of the lab", "outside of it"],
)
def test_what_goes_with_the_lab_is_not_said_to_stay(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch, uri: str, path: str, words: str
) -> None:
    target = world.target()
    BackupTarget.objects.update(path=path)
    driver = driver_for(world.host)
    monkeypatch.setattr("vms.management.commands.wipe_hosts.driver_for", lambda host: driver)
    Host.objects.update(uri=uri)
    driver.ensure_pool(target.pool_name, Path(path))
    out = io.StringIO()
    call_command("wipe_hosts", lab="/var/tmp/berth-x", stdout=out)
    assert out.getvalue() == words


def test_what_another_has_in_an_added_pool_keeps_that_alone(world: World, host: MemoryHost) -> None:
    driver_for(world.host).ensure_pool("fast", Path("/srv/fast"))
    StoragePool.objects.create(host=world.host, name="fast", path="/srv/fast", storage_class=StorageClass.objects.get())
    host.volumes["fast", "theirs"] = volume("theirs")
    out = io.StringIO()
    call_command("wipe_hosts", stdout=out)
    assert (set(host.pools), host.networks) == ({"fast"}, {})
    assert out.getvalue().splitlines()[1:] == ["one: pool fast stays with it"]


def test_what_another_installation_has_in_the_same_pool_stays(world: World, host: MemoryHost) -> None:
    theirs = guest("berth-theirs")
    host.domains[theirs.uuid] = (theirs, PowerState.RUNNING)
    host.volumes["berth", "customer-archive.qcow2"] = volume("customer-archive.qcow2")
    host.volumes["berth", "theirs"] = replace(volume("theirs"), backing=world.image.file_name)
    call_command("wipe_hosts")
    assert set(host.domains) == {theirs.uuid}
    assert {name for _, name in host.volumes} == {"customer-archive.qcow2", "theirs", world.image.file_name}
    assert host.pools
    assert host.networks


def test_a_reset_that_ended_half_way_is_gone_on_with(world: World, host: MemoryHost) -> None:
    host.pools.clear()
    call_command("wipe_hosts")
    assert (host.domains, host.networks) == ({}, {})


def test_each_host_is_looked_at_before_a_pool_that_they_share_is_removed(
    world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory goes with the first one."""
    make_host("two", uri=f"memory://{uuid4()}")
    calls = []
    monkeypatch.setattr(wipe_hosts, "_what_stays", lambda host: calls.append(("look", host.name)) or NOTHING)
    monkeypatch.setattr(wipe_hosts, "_close", lambda host, left: calls.append(("close", host.name)))
    monkeypatch.setattr(wipe_hosts, "_wipe", lambda host: None)
    call_command("wipe_hosts")
    assert calls == [("look", "one"), ("look", "two"), ("close", "one"), ("close", "two")]


def test_copies_under_way_are_ended_before_their_volumes_go(world: World, host: MemoryHost) -> None:
    layer = world.machines["web"].boot_volume.layer
    host.copies[layer.pk] = ("berth", layer.file_name)
    call_command("wipe_hosts")
    assert host.copies == {}


def test_a_machine_made_since_a_restored_backup_goes_too(world: World, host: MemoryHost) -> None:
    """It bears our tenant's id, and its disks lie in our pool; the image under them goes last."""
    lost = guest("berth-lost", owner=str(world.acme.pk), disks=(DiskSpec("berth", DISK, "vda"),))
    host.domains[lost.uuid] = (lost, PowerState.RUNNING)
    host.volumes["berth", DISK] = replace(volume(DISK), backing=BASE)
    host.volumes["berth", BASE] = replace(volume(BASE), backing=world.image.file_name)
    out = io.StringIO()
    call_command("wipe_hosts", stdout=out)
    assert (host.domains, host.volumes, host.pools, out.getvalue()) == ({}, {}, {}, "")


@pytest.mark.parametrize(
    "change",
    [
        {"owner": str(uuid4())},
        {"owner": ""},
        {"disks": (DiskSpec("berth", DISK, "vda"), DiskSpec("theirs", "x", "vdb"))},
    ],
    ids=["another's mark", "no mark", "a disk elsewhere"],
)
def test_what_may_be_anothers_stays_and_is_told(world: World, host: MemoryHost, change: dict[str, Any]) -> None:
    mine = {"owner": str(world.acme.pk), "disks": (DiskSpec("berth", DISK, "vda"),)}
    theirs = guest("berth-theirs", **{**mine, **change})
    host.domains[theirs.uuid] = (theirs, PowerState.RUNNING)
    host.volumes["berth", DISK] = volume(DISK)
    out = io.StringIO()
    call_command("wipe_hosts", stdout=out)
    assert set(host.domains) == {theirs.uuid}
    assert "one: domain berth-theirs (running) stays" in out.getvalue()
    assert f"one: {DISK} stays" in out.getvalue()
    assert host.networks
