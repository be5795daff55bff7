"""`./run reset` on hosts: what is ours goes, what is not stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.core.management import call_command

from hosts.driver.memory import MemoryHost
from hosts.driver.types import PowerState
from tests.audit.mirror import mirrored
from tests.audit.test_audit import guest, volume
from tests.world import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(world: World) -> MemoryHost:
    return mirrored(world)


def test_nothing_of_ours_stays(world: World, host: MemoryHost) -> None:
    call_command("wipe_hosts")
    assert (host.domains, host.volumes, host.pools, host.networks) == ({}, {}, {}, {})


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


def test_copies_under_way_are_ended_before_their_volumes_go(world: World, host: MemoryHost) -> None:
    layer = world.machines["web"].boot_volume.layer
    host.copies[layer.pk] = ("berth", layer.file_name)
    call_command("wipe_hosts")
    assert host.copies == {}
