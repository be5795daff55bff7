"""What is told of the next failure: whether the machines of any host would find room on the others."""

from __future__ import annotations

from typing import Any

import pytest

from hosts import spare
from hosts.models import Cluster, Host, StoragePool
from hosts.spare import Spare
from hosts.web.map import _spare_look, _spare_words
from portal.quotas import ledger
from tests.world import World, make_host
from vms.models import VM, Layer
from vms.workflows.create import forget_machine

pytestmark = pytest.mark.django_db
RESERVED_MIB = 1024


@pytest.fixture
def hosts(world: World) -> dict[str, Host]:
    """`one`, `two` and `three` on one storage, with room for 8 GiB each and nothing on them."""
    for vm in VM.objects.unscoped("test"):
        forget_machine(vm.pk)
    found = {"one": world.host, "two": make_host("two"), "three": make_host("three")}
    Host.objects.update(memory_mib=8192 + RESERVED_MIB, memory_reserved_mib=RESERVED_MIB)
    StoragePool.objects.update(storage_id="one")
    return found


def put(world: World, host: Host, name: str, memory_mib: int, **claims: int) -> VM:
    vm = world.vm(name)
    VM.objects.unscoped("test").filter(pk=vm.pk).update(host=host)
    Layer.objects.filter(volume__vm=vm).update(pool=host.default_pool)
    ledger.release(vm.pk, world.host.pk)
    ledger.hold(host.pk, vm.pk, {"vcpus": 1, "memory_mib": memory_mib, **claims}, {})
    return vm


def found() -> Spare:
    cluster = Cluster.objects.get()
    return spare.of_each([cluster])[cluster.pk]


def test_nothing_is_told_of_nothing(hosts: dict[str, Host]) -> None:
    assert found() == Spare()


def test_not_the_fullest_one_but_the_worst_is_told(world: World, hosts: dict[str, Host]) -> None:
    """Small ones find room wherever; the large one has none."""
    for number in range(3):
        put(world, hosts["one"], f"small-{number}", 2048)
    put(world, hosts["two"], "large", 5632)
    for number in range(2):
        put(world, hosts["three"], f"other-{number}", 1536)
    assert found() == Spare("two", machines=1, without_room=1)


def test_where_two_may_fail_two_do(world: World, hosts: dict[str, Host]) -> None:
    put(world, hosts["one"], "first", 6144)
    put(world, hosts["two"], "second", 6144)
    assert found() == Spare("one", machines=1)
    Cluster.objects.update(failure_reserve=2)
    assert found() == Spare("one and two", machines=2, without_room=1)


def test_those_on_local_disks_are_named_apart(world: World, hosts: dict[str, Host]) -> None:
    put(world, hosts["one"], "shared", 1024)
    local = put(world, hosts["one"], "local", 8192)
    pool = world.pool("fast")
    Layer.objects.filter(volume__vm=local).update(pool=pool)
    told = found()
    assert told == Spare("one", machines=1, local=1)
    assert _spare_look(told) == "attention"
    assert _spare_words(told) == (
        "If one failed now, the others would have room for one machine, and one machine on local disks would be off."
    )


@pytest.mark.parametrize("resource", ["cpu_floor", "reserved_mib", "huge_pages_mib", "cpu:63"])
def test_whatever_is_claimed_is_compared(world: World, hosts: dict[str, Host], resource: str) -> None:
    """Each host can promise so much; one has it free."""
    Host.objects.update(cpus=8, dedicated_cpus=1, huge_pages_mib=512, memory_mib=2048)
    Host.objects.exclude(name="one").update(dedicated_cpus=0, huge_pages_mib=0, cpus=1, memory_mib=RESERVED_MIB + 600)
    put(world, hosts["one"], "promised", 256, **{resource: {"cpu:63": 1, "cpu_floor": 400}.get(resource, 700)})
    assert found() == Spare("one", machines=1, without_room=1)


def test_as_many_queries_for_one_cluster_as_for_all(
    world: World, hosts: dict[str, Host], django_assert_num_queries: Any
) -> None:
    for name, host in hosts.items():
        put(world, host, f"on-{name}", 1024)
    for number in range(5):
        make_host(f"more-{number}", cluster=world.cluster(f"more-{number}"))
    for clusters in (Cluster.objects.filter(slug="default"), Cluster.objects.all()):
        with django_assert_num_queries(10):
            spare.of_each(clusters)
