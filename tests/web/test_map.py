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
from tests.web.test_queries import queries
from tests.world import World, make_host
from vms.workflows.migrate import MIGRATE

MAP = "/provider/clusters/"
QUERIES = 28


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
    assert page.count("1 leaving") == page.count("1 arriving") == 1
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
