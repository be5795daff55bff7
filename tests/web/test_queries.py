"""Pages cost the same number of queries however many machines there are."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from portal.events.models import Event
from portal.quotas.models import Claim, Quota
from tests.web.conftest import Browser
from tests.world import World, forget_machines
from vms.addresses import mac_for
from vms.models import VM, Lifecycle, Nic, Power

# What the shell takes is in it: session, user, roles, tenants, operations under way; with the quota, its increases.
BUDGETS = {
    "/t/acme/vms/": 10,
    "/t/acme/vms/?q=vm-1&status=running": 10,
    "/t/acme/": 10,
    "/t/acme/vms/create/": 17,
    "/t/acme/activity/": 6,
    "/t/acme/images/": 11,
}


@transaction.atomic
def fill(world: World, count: int) -> None:
    """Machines as rows, with their address, claims and events."""
    common = {"tenant": world.acme, "flavor": world.flavor, "image": world.image, "host": world.host}
    size = {"vcpus": 1, "memory_mib": 128, "disk_gib": 1}
    vms = [
        VM(name=f"vm-{number}", lifecycle=Lifecycle.READY, observed_power=Power.RUNNING, **common, **size)
        for number in range(count)
    ]
    VM.objects.unscoped("test").bulk_create(vms)
    nics = [Nic(vm=vm, cluster=world.host.cluster, ip=f"10.75.{100 + i // 250}.{i % 250}") for i, vm in enumerate(vms)]
    for nic in nics:
        nic.mac = mac_for(world.host.cluster_id, nic.ip)
    Nic.objects.bulk_create(nics)
    held = {"vms": 1, **size}
    Claim.objects.bulk_create(
        Claim(account_id=world.acme.pk, holder_id=vm.pk, resource=name, amount=amount)
        for vm in vms
        for name, amount in held.items()
    )
    Event.objects.unscoped("test").bulk_create(
        Event(kind="vm.created", tenant=world.acme, target_type="vm", target_id=vm.pk, target_name=vm.name, actor="x")
        for vm in vms
    )


@pytest.mark.parametrize("url", BUDGETS)
def test_budget(world: World, browser: Browser, url: str) -> None:
    client = browser("owner")
    Quota.objects.update(vms=None, vcpus=None, memory_mib=None, disk_gib=None)
    fill(world, 10)
    client.get(url)  # remembers the tenant in the session
    few = queries(client, url)
    forget_machines(VM.objects.unscoped("test").filter(name__startswith="vm-"))
    fill(world, 1000)
    many = queries(client, url)
    assert len(many) == len(few), "\n".join(many)
    assert len(many) <= BUDGETS[url], "\n".join(many)


def queries(client: object, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(url)  # type: ignore[attr-defined]
    assert answer.status_code == 200
    assert len(answer.content) < 400_000
    return [query["sql"][:200] for query in captured.captured_queries]
