"""Addresses of what no row knows, as after a backup was restored that is older than a machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hosts.connections import driver_for
from hosts.driver.memory import MemoryHost
from hosts.driver.types import NicSpec, PowerState
from hosts.placement import NoCapacity
from portal.backup.settle import settle
from portal.operations.models import Operation
from portal.tenancy.gate import actor_for
from tests.audit.test_audit import guest
from tests.world import World
from vms.addresses import free_address, mac_for
from vms.models import VM, UnknownNic
from vms.services.create import CreateVM, create_vm
from vms.workflows.create import forget_machine

pytestmark = pytest.mark.django_db(transaction=True)
Turn = Callable[[], list[str]]


def create(world: World, name: str = "new") -> VM:
    return create_vm(actor=actor_for(world.people["owner"]), request=CreateVM(name, "tiny", "small", "acme"))[0]


def test_a_machine_made_since_the_backup_keeps_its_address(world: World, host: MemoryHost, turn: Turn) -> None:
    web = world.machines["foreign"]
    nic = web.nics.get()
    forget_machine(web.pk)  # its rows alone: the backup is older
    assert free_address(world.host) == (nic.ip, nic.mac), "by the rows it is free"
    turn()
    assert free_address(world.host)[0] != nic.ip
    driver_for(world.host).undefine(web.pk)
    turn()
    assert free_address(world.host) == (nic.ip, nic.mac), "and free again when it is gone"
    assert not UnknownNic.objects.exists()


def test_what_others_have_reserved_is_taken(world: World, host: MemoryHost, turn: Turn) -> None:
    ip, mac = free_address(world.host)
    host.dhcp_hosts["berth"]["52:54:00:00:00:99"] = ip
    turn()
    assert free_address(world.host)[0] != ip
    host.dhcp_hosts["berth"] = {mac: ip}
    turn()
    assert free_address(world.host) == (ip, mac), "what an earlier machine left is for the next one"


def test_guests_of_others_have_theirs(world: World, host: MemoryHost, turn: Turn) -> None:
    ip, mac = free_address(world.host)
    theirs = guest("somebody-elses", nics=(NicSpec("berth", mac.upper(), ip), NicSpec("other", "52:54:00:00:00:98")))
    host.domains[theirs.uuid] = (theirs, PowerState.RUNNING)
    turn()
    assert set(UnknownNic.objects.values_list("mac", flat=True)) == {mac, "52:54:00:00:00:98"}
    assert free_address(world.host)[1] != mac
    assert mac_for(world.host.cluster_id, ip) == mac


def test_no_machine_is_made_between_a_restore_and_the_first_look(world: World, host: MemoryHost, turn: Turn) -> None:
    settle()
    with pytest.raises(NoCapacity, match="being read anew"):
        create(world)
    turn()
    assert create(world).host == world.host
    assert Operation.objects.unscoped("test").get().kind == "vm.create"
