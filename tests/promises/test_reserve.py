"""What a class promises is claimed where the machine is placed, changes with its size, and goes with it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hosts import service_class
from hosts.models import Host
from hosts.service_class import ServiceClass
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from tests.volumes.conftest import Bench
from tests.world import World, forget_machines
from vms.models import VM, Flavor
from vms.services.catalogue import Class, create_flavor, promise_flavor


def flavor(slug: str, kind: str, vcpus: int = 1, memory_mib: int = 128, **more: Any) -> Flavor:
    size = {"vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": 1}
    return create_flavor(actor=SYSTEM, slug=slug, name=slug.title(), promised=Class(kind, **more), **size)


def create(world: World, name: str, size: str, status: int = 202) -> dict[str, Any]:
    answer = world.caller("owner").post("vms", {"name": name, "image": "tiny", "flavor": size})
    assert answer.status_code == status, answer.content
    return dict(answer.json())


def made(answer: dict[str, Any]) -> VM:
    return VM.objects.unscoped("test").get(pk=answer["vm"]["id"])


def extras(host: Host, vm: VM) -> dict[str, int]:
    held = ledger.held(host.pk, vm.pk)
    return {name: amount for name, amount in held.items() if name not in vm.wanted}


def test_a_machine_takes_what_its_size_promises(world: World, able: Host) -> None:
    flavor("calm", "guaranteed", vcpus=2, cpu_floor=40)
    answer = create(world, "one", "calm")
    vm = made(answer)
    assert answer["vm"]["service_class"] == "guaranteed"
    assert (vm.cpu_floor, vm.cpu_ceiling) == (40, None)
    assert (
        extras(able, vm)
        == {"cpu_floor": 80, "reserved_mib": 128}
        == {name: amount for name, amount in vm.wanted_of_host.items() if name not in vm.wanted}
    )
    assert vm.tuned.shares == 1024 * 2 * 4
    assert vm.tuned.cpus == (0, 1, 2, 3, 4, 5)


def test_sizes_of_old_are_burstable_with_the_floor_that_the_ratio_leaves(world: World, able: Host) -> None:
    vm = made(create(world, "one", "small"))
    assert (vm.service_class, vm.cpu_floor) == ("burstable", 12)
    assert vm.tuned.quota is None


def test_a_host_that_can_hold_guests_to_nothing_takes_them_as_ever(world: World) -> None:
    vm = made(create(world, "one", "small"))
    assert (vm.service_class, vm.cpu_floor, vm.tuning) == ("burstable", None, {})


def test_dedicated_machines_have_cpus_of_their_own(world: World, able: Host) -> None:
    flavor("own", "dedicated")
    pins = [made(create(world, name, "own")).tuned.pins for name in ("one", "two")]
    assert pins == [(6,), (7,)]
    problem = create(world, "three", "own", status=409)
    assert problem["code"] == "no_capacity"
    assert "No host has one CPU free for a dedicated machine" in problem["detail"]
    assert (problem["constraint"], problem["resource"]) == ("capacity", "dedicated_cpus")
    forget_machines(VM.objects.unscoped("test").filter(name="one"))
    assert made(create(world, "three", "own")).tuned.pins == (6,)


def test_floors_are_never_promised_twice(world: World, able: Host) -> None:
    flavor("half", "guaranteed", vcpus=4, cpu_floor=70)
    create(world, "one", "half")
    create(world, "two", "half")  # 560 of 600
    assert "percent of a CPU to promise left" in create(world, "three", "half", status=409)["detail"]
    assert ledger.used(able.pk)["cpu_floor"] == 560


def test_the_ratio_of_a_class_is_never_broken(world: World, able: Host) -> None:
    """Four to one on six CPUs: 24 vCPUs, although the host's own ratio would take 48."""
    world.caller("admin").patch("clusters/default", {"class_ratios": {"burstable": 4}})
    world.acme.quota.__class__.objects.update(vms=None, vcpus=None, memory_mib=None, disk_gib=None)
    already = ledger.used(able.pk).get("cpu_floor", 0)
    flavor("eight", "burstable", vcpus=8)
    flavor("least", "best-effort", vcpus=8)
    assert already == 0
    for name in ("one", "two", "three"):
        assert made(create(world, name, "eight")).cpu_floor == 25
    assert "percent of a CPU to promise left" in create(world, "four", "eight", status=409)["detail"]
    create(world, "five", "least")
    card = world.caller("owner").get("flavors/eight/guarantee").json()
    assert card["over_commit"][0]["class_ratios"] == {"burstable": 4.0}
    answer = world.caller("admin").patch("clusters/default", {"class_ratios": {"dedicated": 1}})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "class_ratios")


def test_reserved_memory_is_not_over_committed(world: World, able: Host) -> None:
    Host.objects.filter(pk=able.pk).update(memory_ratio=4)
    flavor("big", "guaranteed", memory_mib=40_000)
    world.acme.quota.__class__.objects.update(memory_mib=None)
    create(world, "one", "big")
    assert "40000 MiB of memory to reserve left" in create(world, "two", "big", status=409)["detail"]


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [
        ("dedicated", {"vcpus": 3}, "needs 3 CPUs of its own"),
        ("guaranteed", {"has_huge_pages": True}, "huge pages"),
    ],
)
def test_what_no_host_can_is_refused_at_once(
    world: World, able: Host, kind: str, more: dict[str, Any], words: str
) -> None:
    flavor("odd", kind, **more)
    problem = create(world, "one", "odd", status=409)
    assert problem["code"] == "no_capacity"
    assert words in problem["detail"]


def test_a_resize_takes_over_the_other_promise(on_able: Bench, able: Host) -> None:
    flavor("own", "dedicated", vcpus=2)
    cold = on_able.world.machines["cold"]
    on_able.succeed(on_able.post(f"/vms/{cold.pk}/actions/resize", {"flavor": "own"}).json())
    cold.refresh_from_db()
    assert cold.tuned.pins == (6, 7)
    assert on_able.host.domains[cold.pk][0].tuning == cold.tuned
    assert extras(able, cold) == {"cpu:6": 1, "cpu:7": 1, "reserved_mib": 128}
    assert on_able.is_clean()
    on_able.succeed(on_able.post(f"/vms/{cold.pk}/actions/resize", {"flavor": "small"}).json())
    cold.refresh_from_db()
    assert extras(able, cold) == {"cpu_floor": 12}
    assert on_able.host.domains[cold.pk][0].tuning.pins == ()
    assert on_able.is_clean()


def test_its_own_size_takes_over_what_that_promises_now(on_able: Bench, able: Host) -> None:
    cold = on_able.world.machines["cold"]
    promise_flavor(actor=SYSTEM, flavor=on_able.world.flavor, promised=Class("burstable", cpu_floor=20, cpu_ceiling=60))
    assert on_able.is_clean()  # what machines have they keep
    on_able.succeed(on_able.post(f"/vms/{cold.pk}/actions/resize", {"flavor": "small"}).json())
    cold.refresh_from_db()
    assert (cold.cpu_floor, cold.cpu_ceiling, cold.tuned.quota) == (20, 60, 60_000)
    again = on_able.post(f"/vms/{cold.pk}/actions/resize", {"flavor": "small"})
    assert (again.status_code, again.json()["errors"][0]["code"]) == (400, "same_flavor")


def test_a_clone_has_a_promise_of_its_own(on_able: Bench, able: Host) -> None:
    flavor("own", "dedicated")
    cold = on_able.world.machines["cold"]
    on_able.succeed(on_able.post(f"/vms/{cold.pk}/actions/resize", {"flavor": "own"}).json())
    answer = on_able.post(f"/vms/{cold.pk}/actions/clone", {"name": "copy"}).json()
    on_able.succeed(answer)
    assert made(answer).tuned.pins == (7,)
    assert on_able.is_clean()


def test_machines_from_before_are_no_drift(on_able: Bench, able: Host) -> None:
    assert on_able.is_clean()


def test_what_is_kept_for_dedicated_machines_is_changed_on_an_empty_host(world: World, able: Host) -> None:
    answer = world.caller("admin").patch("hosts/one", {"dedicated_cpus": 3})
    assert (answer.status_code, answer.json()["code"]) == (409, "host_not_empty")
    forget_machines(VM.objects.unscoped("test").all())
    assert world.caller("admin").patch("hosts/one", {"dedicated_cpus": 8}).status_code == 400
    answer = world.caller("admin").patch("hosts/one", {"dedicated_cpus": 3})
    assert answer.json()["policy"]["dedicated_cpus"] == 3
    assert answer.json()["service_classes"]["dedicated"] == ""


@pytest.mark.parametrize("seed", range(3))
def test_no_sequence_breaks_what_was_promised(world: World, able: Host, seed: int) -> None:
    """Of creates, deletes and resizes in any order: floors, reserved memory and CPUs stay within the host."""
    world.acme.quota.__class__.objects.update(vms=None, vcpus=None, memory_mib=None, disk_gib=None)
    dice = random.Random(seed)
    sizes = [flavor(f"s{n}", kind, vcpus=n % 2 + 1, memory_mib=7000) for n, kind in enumerate(list(ServiceClass) * 2)]
    owner, limits = world.caller("owner"), service_class.limits(able)
    for number in range(40):
        own = list(VM.objects.unscoped("test").filter(name__startswith="d-"))
        if own and dice.random() < 0.3:
            forget_machines(VM.objects.unscoped("test").filter(pk=dice.choice(own).pk))
        else:
            body = {"name": f"d-{number}", "image": "tiny", "flavor": dice.choice(sizes).slug}
            assert owner.post("vms", body).status_code in (202, 409)
        used = ledger.used(able.pk)
        assert all(amount <= (limits.get(name, amount) or 0) for name, amount in used.items() if name in limits)
        pins = [cpu for vm in VM.objects.unscoped("test").all() for cpu in vm.tuned.pins]
        assert len(pins) == len(set(pins))
