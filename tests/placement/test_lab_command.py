"""`manage.py lab`, with hosts in memory: what `./run lab` asks for."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.core.management import call_command

from hosts.models import Cluster, Host, StoragePool
from portal.operations.models import Operation
from tests.world import World
from vms.management.commands import lab

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody does what is asked for; the command does not wait for it."""
    monkeypatch.setattr(lab, "SECONDS", 0.0)


def add(count: int) -> None:
    call_command("lab", "add", *(f"lab-{number}=memory://{uuid4()}" for number in range(1, count + 1)))


def test_hosts_come_once_into_a_cluster_of_their_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosts.services.hosts.why_refused", lambda uri, **options: "")
    add(2)
    add(3)
    assert [host.name for host in Cluster.objects.get(slug="lab").hosts.all()] == ["lab-1", "lab-2", "lab-3"]
    Host.objects.filter(name="lab-1").update(accelerator="qemu")
    call_command("lab", "add", f"lab-1=memory://{uuid4()}", shared="/var/tmp/shared")
    assert StoragePool.objects.get(name="lab-shared").host.name == "lab-1"
    Operation.objects.unscoped("test").update(state="succeeded")
    call_command("lab", "remove")
    assert [host.name for host in Host.objects.all()] == [world.host.name]
    assert not Cluster.objects.filter(slug="lab").exists()
