"""What tenants and administrators see of a host that has failed."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from hosts.models import Cluster, FenceAgent, Host, HostState, StoragePool, TargetReach
from hosts.services.hosts import preflight
from portal.tenancy.gate import SYSTEM
from tests.failover.conftest import Agent
from tests.world import World, make_host
from vms.guarantee import of_vm
from vms.models import VM

pytestmark = pytest.mark.django_db


def page(world: World, person: str, name: str, *args: Any) -> str:
    client = Client()
    client.force_login(world.people[person])
    answer = client.get(reverse(name, args=args))
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


@pytest.fixture
def failed(world: World) -> Host:
    values = {"state": HostState.FAILED, "failed_at": timezone.now(), "seen_at": None}
    Host.objects.filter(pk=world.host.pk).update(**values)
    return Host.objects.get(pk=world.host.pk)


def test_a_tenant_sees_what_happened_and_what_to_do(world: World, failed: Host) -> None:
    backup = world.backup("web")
    shown = page(world, "member", "vm-detail", "acme", world.machines["web"].pk)
    assert "Its host failed" in shown
    assert "Restore as web-restored" in shown
    assert reverse("backup-restore", args=["acme", backup.pk]) in shown
    assert "There is no backup of it." in page(world, "member", "vm-detail", "acme", world.machines["cold"].pk)


def test_a_viewer_may_not_restore(world: World, failed: Host) -> None:
    world.backup("web")
    assert "Restore as web-restored" not in page(world, "viewer", "vm-detail", "acme", world.machines["web"].pk)


def test_an_administrator_sees_all_that_is_stranded(world: World, failed: Host) -> None:
    world.backup("web")
    shown = page(world, "admin", "host-failover", "one")
    assert "Newest backup" in shown
    assert shown.count("on this host alone") == len(world.machines) - 1, "one is busy"


def test_what_works_on_the_host_is_shown(world: World) -> None:
    operation = preflight(actor=SYSTEM, host=world.host)
    assert reverse("operation-detail", args=[operation.pk]) in page(world, "admin", "host-failover", "one")


def test_only_a_failed_host_is_written_off(world: World, failed: Host) -> None:
    address = reverse("host-write-off", args=["one"])
    assert address in page(world, "admin", "host-failover", "one")
    assert address not in page(world, "auditor", "host-failover", "one")
    Host.objects.update(state=HostState.ENABLED)
    assert address not in page(world, "admin", "host-failover", "one")


def test_what_would_be_lost_is_said_before(world: World, failed: Host) -> None:
    world.volume(vm=world.machines["web"])
    count = len(world.machines)
    assert f"now {count} machines and 1 other disk." in page(world, "admin", "host-failover", "one")
    client = Client()
    client.force_login(world.people["admin"])
    for number in (count - 1, "²", "9" * 5000):
        answer = client.post(reverse("host-write-off", args=["one"]), {"confirmation": "one", "machines": number})
        assert answer.status_code == 302
        assert VM.objects.unscoped("test").count() == count


def test_a_silent_host_asks_for_confirmation(world: World, agent: Agent) -> None:
    world.silent_host()
    assert "data-confirm-name" in page(world, "admin", "host-failover", "silent")
    assert "data-confirm-name" not in page(world, "admin", "host-failover", "one")
    assert "data-confirm-name" not in page(world, "auditor", "host-failover", "silent")


def test_the_same_number_of_queries_for_any_number(world: World, failed: Host) -> None:
    client, address = Client(), reverse("host-failover", args=["one"])
    client.force_login(world.people["admin"])
    client.get(address)
    counted = []
    for number in range(15):
        world.machines[f"more-{number}"] = world.vm(f"more-{number}")
        world.backup(f"more-{number}")
        if number + 1 in (5, 15):
            with CaptureQueriesContext(connection) as queries:
                shown = client.get(address).content.decode()
            assert f"more-{number}" in shown
            counted.append(len(queries))
    assert counted[0] == counted[1]


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_card_says_what_firmware_forgets(world: World, firmware: str) -> None:
    make_host("spare", firmwares=["uefi"])
    StoragePool.objects.update(storage_id="one")
    VM.objects.unscoped("test").update(firmware=firmware)
    vm = VM.objects.unscoped("test").select_related("host__cluster", "flavor").get(pk=world.machines["web"].pk)
    assert ("firmware's memory" in of_vm(vm).on_host_failure) is (firmware == "uefi")


def card_of(world: World, name: str = "web") -> str:
    rows = VM.objects.unscoped("test").select_related("host__cluster", "flavor", "tenant")
    return of_vm(rows.get(pk=world.machines[name].pk)).on_host_failure


@pytest.mark.parametrize(
    ("shared", "policy", "words"),
    [
        (False, "automatic", "on its host alone"),
        (True, "automatic", "without anybody's asking it starts again on another host, in its turn"),
        (True, "eager", "without anybody's asking it starts again on another host, in its turn"),
        (True, "manual", "administrator has confirmed"),
        (True, "off", "administrator has made sure"),
    ],
)
def test_the_card_is_true_of_each_machine(world: World, shared: bool, policy: str, words: str) -> None:
    make_host("spare")
    FenceAgent.objects.create(
        host=world.host, agent="fence_test", power="on", standing="right", tested_at=timezone.now()
    )
    Cluster.objects.update(failover=policy)
    if shared:
        StoragePool.objects.update(storage_id="one")
    assert words in card_of(world)


@pytest.mark.parametrize("policy", ["automatic", "eager"])
@pytest.mark.parametrize(
    "agent",
    [
        None,
        {"power": "", "standing": "right", "problem": "It did not end within 20 s."},
        {"power": "on", "standing": "unknown"},
    ],
)
def test_nothing_starts_by_itself_where_nothing_tells_that_a_host_is_off(
    world: World, policy: str, agent: dict[str, str] | None
) -> None:
    """Neither the tenant's card nor the provider's pages say so."""
    make_host("spare")
    StoragePool.objects.update(storage_id="one")
    Cluster.objects.update(failover=policy)
    if agent is not None:
        FenceAgent.objects.create(host=world.host, agent="fence_test", **agent)
    assert "without anybody's asking" not in card_of(world)
    assert "an administrator has confirmed that it is off" in card_of(world)
    form = reverse("host-fence-agent", args=["one"])
    fencing = page(world, "admin", "host-failover", "one")
    assert form in fencing
    assert "cuts its power" not in fencing
    drawn = page(world, "admin", "cluster-list")
    assert form in drawn
    assert "2 hosts have no fence agent that works" in drawn
    FenceAgent.objects.all().delete()
    for host in Host.objects.all():
        FenceAgent.objects.create(host=host, agent="fence_test", power="on", standing="right", tested_at=timezone.now())
    drawn = page(world, "admin", "cluster-list")
    assert form not in drawn
    assert "no fence agent" not in drawn
    assert "cuts its power" in page(world, "admin", "host-failover", "one")


def test_why_it_cannot_be_fenced_is_written_there(world: World, failed: Host) -> None:
    assert "It has failed already." in page(world, "admin", "host-failover", "one")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory_mib": 0}, "At present none of the others has room for it."),
        ({"state": "cordoned"}, "At present none of the others takes machines."),
        ({"firmwares": []}, "none of the others has its firmware (uefi), so it is off until its host is back"),
    ],
)
def test_the_card_says_what_the_others_lack(world: World, change: dict[str, Any], words: str) -> None:
    spare = make_host("spare", firmwares=["uefi"])
    StoragePool.objects.update(storage_id="one")
    VM.objects.unscoped("test").update(firmware="uefi")
    assert "none of the others" not in card_of(world)
    Host.objects.filter(pk=spare.pk).update(**change)
    assert words in card_of(world)
    assert "spare" not in card_of(world)


def test_the_card_promises_no_backup_that_is_not_there(world: World) -> None:
    assert "there is no backup of it" in card_of(world)
    target = world.backup("web").target
    assert "so are its backups: no other host reaches them" in card_of(world)
    TargetReach.objects.create(target=target, host=make_host("other"), is_reached=True, checked_at=timezone.now())
    assert "its newest backup can be restored" in card_of(world)


def test_a_tenant_reads_why_no_other_host_takes_it(world: World, failed: Host) -> None:
    """The administrator reads it of each host, and nobody is told that room is what is missing."""
    make_host("spare")
    StoragePool.objects.update(storage_id="one")
    web = VM.objects.unscoped("test").filter(pk=world.machines["web"].pk)
    web.update(service_class="dedicated", cpu_floor=100)
    why = "can keep what it is promised: it needs one CPU of its own, and the host keeps none for dedicated machines"
    Host.objects.update(controls={"cpu_weight": 100})
    mine = page(world, "member", "vm-detail", "acme", world.machines["web"].pk)
    assert f"none of them {why}." in mine
    assert "as soon as" not in mine
    theirs = page(world, "admin", "host-failover", "one")
    assert f"none of the others {why}" in theirs
    assert "spare: It cannot keep what the machine is promised" in theirs
    assert theirs.count("can start elsewhere") == len(world.machines) - 2, "one is busy"


def test_the_list_says_that_its_host_failed(world: World, failed: Host) -> None:
    shown = page(world, "member", "vm-list", "acme")
    assert "its host failed" in shown
    assert "last known" not in shown


def test_a_tenants_overview_names_its_machines_that_are_off(world: World) -> None:
    assert "host failed" not in page(world, "owner", "overview", "acme")
    Host.objects.filter(pk=world.host.pk).update(state=HostState.FAILED, failed_at=timezone.now())
    told = page(world, "owner", "overview", "acme")
    count = VM.objects.unscoped("test").filter(host=world.host, tenant=world.acme, binned_at=None).count()
    assert f"{count} machines are off: their host failed" in told
    assert reverse("vm-detail", args=["acme", world.machines["web"].pk]) in told
    assert 'aria-label="one has failed"' not in told
    assert reverse("host-failover", args=["one"]) not in told
    assert 'aria-label="one has failed"' in page(world, "admin", "overview", "acme")
