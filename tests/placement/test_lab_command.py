"""`manage.py lab`, with hosts in memory: what `./run lab` asks for."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.core.management import call_command

from hosts.models import Cluster, FenceAgent, Host, StoragePool
from hosts.services.hosts import set_peer_uri
from portal.core.errors import Invalid
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM
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
    first = Host.objects.get(name="lab-1")
    call_command("lab", "add", f"lab-1={first.uri}", shared="/var/tmp/shared")
    assert StoragePool.objects.get(name="lab-shared").host.name == "lab-1"
    Operation.objects.unscoped("test").update(state="succeeded")
    call_command("lab", "remove")
    assert [host.name for host in Host.objects.all()] == [world.host.name]
    assert not Cluster.objects.filter(slug="lab").exists()


def test_they_reach_each_other_and_can_be_fenced_and_what_was_set_otherwise_stays(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without BERTH_ALLOW_TCP."""
    hosts = [f"lab-{number}=qemu+unix:///system?socket=/var/tmp/berth-x1/h{number}/run/sock" for number in (1, 2)]
    call_command("lab", "add", *hosts)
    Host.objects.filter(name="lab-2").update(peer_uri="qemu+ssh://root@two/system")
    peers = [f"lab-{number}=qemu+tcp://10.64.0.{number}/system" for number in (1, 2)]
    call_command("lab", "add", *hosts, "--peers", *peers, "--plugs", "lab-1=x1/1", "lab-2=x1/2")
    found = dict(Host.objects.filter(name__startswith="lab-").values_list("name", "peer_uri"))
    assert found == {"lab-1": "qemu+tcp://10.64.0.1/system", "lab-2": "qemu+ssh://root@two/system"}
    assert [(each.agent, each.options) for each in FenceAgent.objects.order_by("host__name")] == [
        ("fence_lab", {"plug": "x1/1"}),
        ("fence_lab", {"plug": "x1/2"}),
    ]
    first = Host.objects.get(name="lab-1")
    set_peer_uri(actor=SYSTEM, host=first, uri=first.peer_uri)  # as the host's form does, which sends all it shows
    with pytest.raises(Invalid, match="qemu\\+tcp"):
        set_peer_uri(actor=SYSTEM, host=first, uri="qemu+tcp://10.64.0.9/system")
    cluster = Cluster.objects.get(slug="lab")
    assert cluster.failover == "automatic"
    told = capsys.readouterr().out
    assert "lab-1: pending, 10.64.0.1" in told
    assert "When a host fails: Automatic" in told
    cluster.failover = "off"
    cluster.save()
    call_command("lab", "add")
    assert Cluster.objects.get(slug="lab").failover == "off"


def test_each_has_a_place_of_its_own_whatever_the_installation_has(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosts.services.hosts.why_refused", lambda uri, **options: "")
    call_command("lab", "add", f"lab-1=memory://{uuid4()}", own="/var/lib/libvirt/images/x")
    assert Host.objects.get(name="lab-1").default_pool.path == "/var/lib/libvirt/images/x"


def test_another_machine_of_that_name_is_left_alone(world: World) -> None:
    """What would be fenced off for it is the lab's."""
    Host.objects.filter(pk=world.host.pk).update(name="lab-1")
    peers = ["--peers", "lab-1=qemu+tcp://10.64.0.1/system"]
    call_command("lab", "add", "lab-1=memory://lab", *peers, "--plugs", "lab-1=x1/1")
    assert (Host.objects.get(name="lab-1").peer_uri, FenceAgent.objects.count()) == ("", 0)
