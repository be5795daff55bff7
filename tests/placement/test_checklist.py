"""The checklist of a host, line by line."""

from __future__ import annotations

from typing import Any

import pytest

from hosts.checklist import checks
from hosts.models import Host
from tests.world import World, make_host

pytestmark = pytest.mark.django_db


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


def test_nothing_is_said_before_the_first_look(world: World) -> None:
    assert checks(make_host("two", checked_at=None)) == []


def test_a_baseline_makes_processors_alike(world: World) -> None:
    world.host.cluster.cpu_model = "Westmere"
    world.host.cluster.save()
    host = make_host("two", accelerator="kvm", cpu_model="EPYC", libvirt_version="10.0.0", qemu_version="8.2.2")
    host.cluster.refresh_from_db()
    assert all(check.is_ok for check in checks(host))
