"""The checklist of a host, line by line."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hosts import selectors
from hosts.access import access_in
from hosts.checklist import Verdict, checks
from hosts.models import Host, HostAccess, StoragePool
from portal.tenancy.gate import SYSTEM
from tests.keys import Authority
from tests.world import World, make_host

pytestmark = pytest.mark.django_db
ARRIVED = {"at": "2026-05-03T10:00:00+00:00", "source": "b", "has_arrived": True}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"libvirt_version": "8.10.0"}, "libvirt version"),
        ({"qemu_version": "7.1.9"}, "QEMU version"),
        ({"accelerator": ""}, "Accelerator"),
        ({"accelerator": "kvm", "cpu_model": "Westmere"}, "Processor"),
        ({"network_cidr": "10.99.0.0/24"}, "Network"),
    ],
)
def test_one_thing_is_amiss(world: World, changes: dict[str, Any], name: str) -> None:
    fine = {"libvirt_version": "10.0.0", "qemu_version": "8.2.2", "cpu_model": "EPYC"}
    Host.objects.update(**fine)
    host = make_host("two", **{**fine, **changes})
    wrong = [check.name for check in checks(host) if not check.is_ok]
    assert wrong == [name]


@pytest.mark.parametrize(
    ("changes", "name", "verdict", "words"),
    [
        ({"verdicts": [{"accelerator": "kvm", "clock_offset": 0.2}]}, "Clock", Verdict.OK, "As the portal's"),
        ({"verdicts": [{"accelerator": "kvm", "clock_offset": -7.4}]}, "Clock", Verdict.WARN, "7 s behind"),
        ({"verdicts": [{"accelerator": "kvm", "clock_offset": 90}]}, "Clock", Verdict.FAIL, "90 s ahead of"),
        ({"accelerator": "qemu"}, "Accelerator", Verdict.WARN, "Emulation"),
        ({}, "Migration ports", Verdict.UNCHECKED, "Not tried yet"),
        ({"arrival": ARRIVED}, "Migration ports", Verdict.OK, "A machine came from b on 3 May 2026"),
        (
            {"arrival": {**ARRIVED, "has_arrived": False}},
            "Migration ports",
            Verdict.WARN,
            "from b on 3 May 2026, failed",
        ),
    ],
)
def test_a_verdict_with_words(world: World, changes: dict[str, Any], name: str, verdict: Verdict, words: str) -> None:
    (found,) = [check for check in checks(make_host("two", **changes)) if check.name == name]
    assert (found.verdict, words in found.detail) == (verdict, True)
    assert bool(found.advice) == (verdict is not Verdict.OK)


def test_a_baseline_that_the_host_cannot_show(world: World) -> None:
    Host.objects.update(cpu_models=["EPYC", "Nehalem", "qemu64"])
    world.host.cluster.cpu_model = "Broadwell"
    world.host.cluster.save()
    host = make_host("two", cpu_models=["Nehalem", "qemu64"])
    host.cluster.refresh_from_db()
    (found,) = [check for check in checks(host) if check.name == "Processor"]
    assert found.verdict is Verdict.FAIL
    assert "Nehalem, qemu64" in found.advice


def test_a_pool_that_fills_up_and_one_that_is_gone(world: World) -> None:
    host = make_host("two")
    host.storage_pools.update(available_bytes=1)
    assert [check.verdict for check in checks(host) if check.name == "Pool berth"] == [Verdict.WARN]
    host.storage_pools.update(error="cannot open directory")
    (found,) = [check for check in checks(host) if check.name == "Pool berth"]
    assert (found.verdict, found.detail) == (Verdict.FAIL, "cannot open directory")


def test_which_hosts_see_the_same_storage(world: World) -> None:
    two, three = make_host("two"), make_host("three")

    def told() -> tuple[Verdict, str]:
        host = selectors.host(SYSTEM, "one")
        (found,) = [check for check in checks(host) if check.name == "Storage berth"]
        return found.verdict, found.detail

    assert told() == (Verdict.WARN, "Not recognised: no token could be written to it, or read")
    StoragePool.objects.update(storage_id="a" * 32)
    StoragePool.objects.filter(host=three).update(storage_id="b" * 32)
    assert told() == (Verdict.OK, "The same as on two")
    StoragePool.objects.filter(host=two).update(error="gone")
    assert told() == (Verdict.OK, "Of this host alone")


@pytest.mark.parametrize(("days", "verdict"), [(90, Verdict.OK), (3, Verdict.WARN)])
def test_a_certificate_that_ends_soon(world: World, days: int, verdict: Verdict) -> None:
    access = access_in(**Authority().access(lasts=timedelta(days=days)))
    assert access is not None
    kept = HostAccess.of(access)
    kept.save()
    host = make_host("two", uri="qemu+tls://two/system", access=kept)
    assert [check.verdict for check in checks(host) if check.name == "Client certificate"] == [verdict]


def test_nothing_is_said_before_the_first_look(world: World) -> None:
    assert checks(make_host("two", checked_at=None)) == []


def test_a_baseline_makes_processors_alike(world: World) -> None:
    world.host.cluster.cpu_model = "Westmere"
    world.host.cluster.save()
    host = make_host("two", accelerator="kvm", cpu_model="EPYC", libvirt_version="10.0.0", qemu_version="8.2.2")
    host.cluster.refresh_from_db()
    assert all(check.is_ok for check in checks(host))
