"""The map of hosts: three measures of each resource, at the same cost for any number of hosts."""

from __future__ import annotations

import re

from django.utils import timezone

from hosts.map import Moves, standings
from hosts.models import Host, HostUsage
from hosts.models.usage import MINUTE
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas.models import Account, Claim
from portal.tenancy.gate import SYSTEM
from tests.web.conftest import Browser
from tests.web.test_queries import fill as machines
from tests.web.test_queries import queries
from tests.world import World, forget_machines, make_host
from vms.models import VM
from vms.workflows.migrate import MIGRATE

MAP = "/provider/clusters/"
QUERIES = 29


def fill(world: World, count: int) -> None:
    """Hosts as rows, each with a machine's claims and a minute that was measured."""
    fixed = {
        "cluster": world.host.cluster,
        "pool_name": "berth",
        "network_name": "berth",
        "cpus": 8,
        "memory_mib": 65536,
    }
    first = Host.objects.count()
    made = [Host(name=f"h-{first + n}", uri=f"qemu+ssh://h-{first + n}/system", **fixed) for n in range(count)]
    Host.objects.bulk_create(made)
    Account.objects.bulk_create([Account(pk=host.pk) for host in made])
    held = {"vcpus": 4, "memory_mib": 4096, "disk_gib": 10, "cpu_floor": 200, "reserved_mib": 2048}
    Claim.objects.bulk_create(
        Claim(account_id=host.pk, holder_id=host.pk, resource=name, amount=amount)
        for host in made
        for name, amount in held.items()
    )
    nothing = dict.fromkeys((*HostUsage.SUMS, "memory_mib"), 0)
    used = {**nothing, "length_ms": 60_000, "cpu_ms": 90_000, "memory_mib": 8192}
    HostUsage.objects.bulk_create(HostUsage(host=host, step=MINUTE, at=timezone.now(), **used) for host in made)


def words(page: bytes) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.decode()))


def test_what_is_guaranteed_committed_and_used_are_told_apart(world: World, browser: Browser) -> None:
    fill(world, 1)
    page = words(browser("auditor").get(MAP).content)
    assert "guaranteed 2 of 8 committed 4 of 64 used 1.5 of 8" in page
    assert "guaranteed 2 GiB of 63 GiB committed 4 GiB of 63 GiB used 8 GiB of 64 GiB" in page
    assert "1 machine " in page


def test_a_host_that_takes_no_machines_says_so_beside_its_health(world: World, browser: Browser) -> None:
    Host.objects.filter(pk=world.host.pk).update(state="cordoned")
    page = words(browser("auditor").get(MAP).content)
    assert "cordoned" in page
    assert "ready" in page


def test_machines_that_come_are_seen_as_well_as_those_that_leave(world: World, browser: Browser) -> None:
    target = make_host("two")
    Operation.objects.unscoped("test").all().delete()
    ways = {"from": str(world.host.pk), "to": str(target.pk)}
    operations.submit(
        MIGRATE, actor=SYSTEM, target=world.machines["web"], title="Move web", params=ways, lane=world.host.pk
    )
    page = words(browser("auditor").get(MAP).content)
    assert page.count("1 moving out") == page.count("1 moving in") == 1
    assert "1 operation under way" not in page
    assert standings([world.host, target])[target.pk].moves == Moves(arriving=1)


def test_two_hundred_hosts_cost_what_ten_do(world: World, browser: Browser) -> None:
    client = browser("admin")
    fill(world, 10)
    client.get(MAP)
    few = queries(client, MAP)
    fill(world, 190)
    many = queries(client, MAP)
    assert len(many) == len(few) <= QUERIES, "\n".join(many)


def test_a_machine_that_moves_counts_once_though_both_hosts_hold_room(world: World, browser: Browser) -> None:
    target = make_host("two")
    Operation.objects.unscoped("test").all().delete()
    web = world.machines["web"]
    for host in (world.host, target):
        Claim.objects.get_or_create(account_id=host.pk, holder_id=web.pk, resource="vcpus", defaults={"amount": 1})
    before = standings([world.host])[world.host.pk].machines
    ways = {"from": str(world.host.pk), "to": str(target.pk)}
    operations.submit(MIGRATE, actor=SYSTEM, target=web, title="Move web", params=ways, lane=world.host.pk)
    found = standings([world.host, target])
    assert (found[world.host.pk].machines, found[target.pk].machines) == (before, 0)
    assert "1 moving, with room held on both hosts" in words(browser("auditor").get(MAP).content)


def test_what_a_failed_host_had_is_not_told_as_there(world: World, browser: Browser) -> None:
    fill(world, 2)
    Host.objects.filter(pk=world.host.pk).update(state="maintenance")
    assert "All together, without one (maintenance) CPU guaranteed 4 of 16 " in words(
        browser("auditor").get(MAP).content
    )
    Host.objects.filter(name="h-1").update(state="failed")
    page = words(browser("auditor").get(MAP).content)
    assert "All together, without h-1 (failed), one (maintenance) CPU guaranteed 2 of 8 " in page
    assert 'aria-label="h-1 has failed"' in browser("auditor").get(MAP).content.decode()
    assert "has failed" not in words(browser("owner").get("/t/acme/").content)


def test_a_hosts_page_lists_its_machines_with_their_way_out(world: World, browser: Browser) -> None:
    url = f"/provider/hosts/{world.host.name}/"
    page = words(browser("admin").get(url).content)
    assert "Machines what each does, and where it would go now" in page
    assert "stays Its cluster has no other host. Add another host to its cluster." in page
    shown = browser("admin").get(url).content.decode()
    move = f"/t/acme/vms/{world.machines['web'].pk}/migrate/"
    assert move in shown
    assert move not in browser("auditor").get(url).content.decode()
    Host.objects.filter(pk=world.host.pk).update(state="failed")
    assert "see Failover" in words(browser("admin").get(url).content)


def test_a_hosts_page_costs_the_same_for_many_machines(world: World, browser: Browser) -> None:
    client, url = browser("admin"), f"/provider/hosts/{world.host.name}/"
    machines(world, 3)
    client.get(url)
    few = queries(client, url)
    forget_machines(VM.objects.unscoped("test").filter(name__startswith="vm-"))
    machines(world, 30)
    many = queries(client, url)
    assert len(many) == len(few), "\n".join(many)
    assert "after=" in client.get(url).content.decode()
