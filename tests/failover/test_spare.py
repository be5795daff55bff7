"""What is told of the next failure: whether the machines of any host would start on the others, and why not."""

from __future__ import annotations

from typing import Any

import pytest

from hosts import spare
from hosts.choice import Constraint
from hosts.models import Cluster, Host, StoragePool
from hosts.spare import Spare
from hosts.web.map import _spare_look, _spare_words
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from tests.world import World, make_host
from vms import takeover
from vms.maintenance.reading import plan_of
from vms.models import VM, AffinityGroup, Flavor, Layer
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


def put(world: World, host: Host, name: str, memory_mib: int, **promised: Any) -> VM:
    """A machine on that host, with what is promised to it."""
    vm = world.vm(name)
    VM.objects.unscoped("test").filter(pk=vm.pk).update(host=host, memory_mib=memory_mib, **promised)
    vm.refresh_from_db()
    Layer.objects.filter(volume__vm=vm).update(pool=host.default_pool)
    ledger.release(vm.pk, world.host.pk)
    ledger.hold(host.pk, vm.pk, vm.wanted_of_host, {})
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


PROMISED = {
    "cpu_floor": {"cpu_floor": 400},
    "reserved_mib": {"cpu_floor": 1, "service_class": "guaranteed"},
    "huge_pages_mib": {"cpu_floor": 1, "has_huge_pages": True},
    "cpu:63": {"cpu_floor": 1, "service_class": "dedicated", "tuning": {"pins": [63]}},
}


@pytest.mark.parametrize("promise", PROMISED)
def test_whatever_is_promised_is_compared(world: World, hosts: dict[str, Host], promise: str) -> None:
    """Each host could keep it for one machine, and those of the others have it."""
    Host.objects.update(cpus=64, dedicated_cpus=1, huge_pages_mib=300, controls={"cpu_weight": 100})
    Host.objects.update(memory_ratio=2, memory_mib=RESERVED_MIB + 300)
    Host.objects.filter(cpus=64).update(cpus=8 if promise == "cpu_floor" else 64)
    for name, host in hosts.items():
        host.refresh_from_db()
        put(world, host, f"promised-{name}", 256, **PROMISED[promise])
    told = found()
    assert (told.machines, told.without_room, told.refused) == (1, 1, 0)


def test_what_can_be_kept_nowhere_else_is_no_lack_of_room(world: World, hosts: dict[str, Host]) -> None:
    """However full the others are."""
    Host.objects.update(cpus=64, controls={"cpu_weight": 100})
    Host.objects.filter(name="one").update(dedicated_cpus=1)
    hosts["one"].refresh_from_db()
    put(world, hosts["one"], "own-cpu", 512, **PROMISED["cpu:63"])
    why = "can keep what it is promised: it needs one CPU of its own, and the host keeps none for dedicated machines"
    assert found() == Spare("one", machines=1, refused=1, reasons=(why,))
    put(world, hosts["two"], "full-two", 8000)
    put(world, hosts["three"], "full-three", 8000)
    outlook = takeover.of_hosts([hosts["one"]])[VM.objects.unscoped("test").get(name="own-cpu").pk]
    assert (outlook.host, outlook.constraint, outlook.words) == (None, Constraint.CLAIM, why)


def test_labels_count(world: World, hosts: dict[str, Host]) -> None:
    """The drain plan says the same of them."""
    Host.objects.filter(name="one").update(labels=["gpu"])
    picky = Flavor.objects.create(slug="picky", name="P", vcpus=1, memory_mib=128, disk_gib=1, host_labels=["gpu"])
    for number in range(3):
        put(world, hosts["one"], f"gpu-{number}", 128, flavor=picky)
    put(world, hosts["one"], "any", 128)
    told = found()
    assert told == Spare("one", machines=4, refused=3, reasons=("has what its size asks for (gpu)",))
    assert _spare_look(told) == "attention"
    assert _spare_words(told) == (
        "If one failed now, the others would have room for one machine, and 3 machines would stay off: "
        "none of the others has what its size asks for (gpu)."
    )
    assert len(plan_of(SYSTEM, hosts["one"]).staying) == told.refused
    Host.objects.filter(name="two").update(labels=["gpu"])
    assert found() == Spare("one", machines=4)


def test_firmware_counts(world: World, hosts: dict[str, Host]) -> None:
    put(world, hosts["one"], "uefi", 128, firmware="uefi")
    assert found().reasons == ("has its firmware (uefi)",)


@pytest.mark.parametrize(("policy", "refused"), [("apart", 1), ("together", 0)])
def test_groups_count(world: World, hosts: dict[str, Host], policy: str, refused: int) -> None:
    """One on each of three hosts finds none without another; those that are lost together gather anywhere."""
    group = AffinityGroup.objects.create(tenant=world.acme, name="db", policy=policy)
    spread = hosts.values() if policy == "apart" else [hosts["one"]] * 3
    group.members.set([put(world, host, f"db-{n}", 128) for n, host in enumerate(spread)])
    assert (found().refused, found().without_room) == (refused, 0)


def test_where_no_other_takes_machines_nothing_starts(world: World, hosts: dict[str, Host]) -> None:
    put(world, hosts["one"], "web", 128)
    Host.objects.exclude(name="one").update(state="cordoned")
    assert found() == Spare("one", machines=1, refused=1, reasons=("takes machines",))


def test_as_many_queries_for_one_cluster_as_for_all(
    world: World, hosts: dict[str, Host], django_assert_num_queries: Any
) -> None:
    for name, host in hosts.items():
        put(world, host, f"on-{name}", 1024)
    for number in range(5):
        make_host(f"more-{number}", cluster=world.cluster(f"more-{number}"))
    for clusters in (Cluster.objects.filter(slug="default"), Cluster.objects.all()):
        with django_assert_num_queries(15):
            spare.of_each(clusters)
