"""Which host: each filter by itself, the order of what is left, and what a tenant is told."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from hosts.choice import Constraint, Site, Wanted, choose, explain

EAST, WEST = UUID(int=1), UUID(int=2)
SIZE = {"vcpus": 2, "memory_mib": 1024, "disk_gib": 10}


def site(name: str, **more: Any) -> Site:
    values: dict[str, Any] = {
        "id": UUID(int=sum(name.encode())),
        "name": name,
        "cluster_id": EAST,
        "state": "enabled",
        "is_packed": False,
        "is_ready": True,
        "is_unread": False,
        "is_reachable": True,
        "processor": "kvm",
        "firmwares": frozenset({"bios"}),
        "labels": frozenset(),
        "capacity": {"vcpus": 8, "memory_mib": 8192, "disk_gib": 100},
        "used": {},
    }
    return Site(**{**values, **more})


FULL = {"vcpus": 7, "memory_mib": 0, "disk_gib": 0}
CASES = [
    (Constraint.STATE, {"state": "cordoned"}, {}, "cordoned"),
    (Constraint.STATE, {"state": "maintenance"}, {}, "cordoned"),
    (Constraint.NOT_READY, {"is_ready": False}, {}, "ready"),
    (Constraint.UNREAD, {"is_unread": True}, {}, "read anew"),
    (Constraint.AVOIDED, {}, {"avoid": frozenset({site("a").id})}, "other host"),
    (Constraint.CLUSTER, {}, {"clusters": frozenset({WEST})}, "clusters that this tenant"),
    (Constraint.FIRMWARE, {}, {"firmware": "uefi"}, "UEFI"),
    (Constraint.PROCESSOR, {}, {"processor": "qemu"}, "Stop it first"),
    (Constraint.LABELS, {}, {"labels": frozenset({"gpu"})}, r"asks for \(gpu\)"),
    (Constraint.STORAGE, {}, {"storage": frozenset()}, "storage class"),
    (Constraint.TOGETHER, {}, {"together": {"pair": WEST}}, "group pair"),
    (Constraint.APART, {}, {"apart": {site("a").id: "quorum"}}, r"\(quorum\)"),
    (Constraint.CAPACITY, {"used": FULL}, {}, "2 vCPUs free. Choose a smaller size"),
]


@pytest.mark.parametrize(("constraint", "of_host", "of_machine", "words"), CASES)
def test_filter(constraint: Constraint, of_host: dict[str, Any], of_machine: dict[str, Any], words: str) -> None:
    wanted, other = Wanted(SIZE, **of_machine), site("a", **of_host)
    choice = choose(wanted, [other])
    assert choice.ranked == ()
    assert choice.refused["a"].constraint == constraint
    told = explain(wanted, [other], choice.refused)
    assert told.extra["constraint"] == constraint
    assert re.search(words, told.words), told.words


def test_every_filter_has_its_case() -> None:
    assert {case[0] for case in CASES} == set(Constraint) - {Constraint.CLAIM, Constraint.RANK}


def test_spreading_takes_the_emptiest_and_packing_the_fullest() -> None:
    hosts = [site(name, used={"vcpus": used, "memory_mib": 0}) for name, used in (("a", 3), ("b", 1), ("c", 5))]
    assert [found.name for found in choose(Wanted(SIZE), hosts).ranked] == ["b", "a", "c"]
    packed = [replace(host, is_packed=True) for host in hosts]
    assert [found.name for found in choose(Wanted(SIZE), packed).ranked] == ["c", "a", "b"]


def test_the_scarcer_resource_says_how_full_a_host_is() -> None:
    thirsty, busy = site("a", used={"memory_mib": 6000}), site("b", used={"vcpus": 2})
    assert choose(Wanted(SIZE), [thirsty, busy]).ranked[0].name == "b"


def test_hosts_that_answer_come_first_and_special_ones_last() -> None:
    hosts = [site("a", is_reachable=False), site("b", labels=frozenset({"gpu"})), site("c", used={"vcpus": 6})]
    assert [found.name for found in choose(Wanted(SIZE), hosts).ranked] == ["c", "b", "a"]
    asks = Wanted(SIZE, labels=frozenset({"gpu"}))
    assert [found.name for found in choose(asks, hosts).ranked] == ["b"]


def test_a_tenant_hears_of_the_hosts_that_were_closest() -> None:
    hosts = [site("a", state="cordoned"), site("b", used=FULL), site("c", used={"memory_mib": 8000})]
    wanted = Wanted(SIZE)
    told = explain(wanted, hosts, choose(wanted, hosts).refused)
    assert told.words.startswith("No host has 2 vCPUs and 1024 MiB of memory free at once.")
    assert told.extra["constraint"] == "capacity"
