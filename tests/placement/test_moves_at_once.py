"""Two who ask at the same moment, on PostgreSQL: of what would break a group, or pull a host from under an operation,
only one passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres import postgres, race  # noqa: F401  the fixture

pytestmark = pytest.mark.timeout(300)
RACE = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from django.core.management import call_command
from django.db import connection
from hosts.models import Host, StoragePool
from hosts.services.hosts import preflight, remove_host
from portal.core.errors import DomainError
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from tests.world import make_host, make_world
from vms.models import VM
from vms.services.groups import add_member
from vms.services.migrate import migrate_vm

call_command("migrate", verbosity=0)
world = make_world()
two, three = make_host("two"), make_host("three")
StoragePool.objects.update(storage_id="one")
web, cold = world.machines["web"], world.machines["cold"]
group = world.group("quorum", "apart", "web", "cold")

def put(vm, host):
    layer = vm.boot_volume.layer
    layer.pool = host.default_pool
    layer.save()
    ledger.release(vm.pk, vm.host_id)
    VM.objects.unscoped("test").filter(pk=vm.pk).update(host=host)

def move(vm, host):
    migrate_vm(actor=SYSTEM, vm=VM.objects.unscoped("test").get(pk=vm.pk), host=host.name)

def at_once(*asks):
    barrier = Barrier(len(asks))
    def one(ask):
        try:
            connection.ensure_connection()
            barrier.wait()
            ask()
            return "passed"
        except DomainError as refusal:
            return refusal.code
        finally:
            connection.close()
    with ThreadPoolExecutor(len(asks)) as pool:
        return sorted(pool.map(one, asks))

def reset():
    Operation.objects.unscoped("test").all().delete()
    for host in (two, three):
        ledger.release(web.pk, host.pk)
        ledger.release(cold.pk, host.pk)

reset()
put(cold, two)
for turn in range(8):
    group.members.set([web, cold])
    answers = at_once(lambda: move(web, three), lambda: move(cold, three))
    assert answers in (["cannot_migrate", "passed"], ["no_capacity", "passed"]), answers
    reset()
    group.members.set([cold])
    answers = at_once(
        lambda: move(web, two),
        lambda: add_member(actor=SYSTEM, group=group, vm=VM.objects.unscoped("test").get(pk=web.pk)),
    )
    assert answers[1] == "passed" and answers[0] in ("cannot_migrate", "group_conflict", "no_capacity"), answers
    reset()
    host = make_host(f"empty-{turn}")
    same = Host.objects.get(pk=host.pk)
    answers = at_once(lambda: preflight(actor=SYSTEM, host=host), lambda: remove_host(actor=SYSTEM, host=same))
    assert answers in (["not_found", "passed"], ["operation_in_progress", "passed"]), answers
    checks = Operation.objects.unscoped("test").filter(target_id=host.pk).count()
    assert checks == Host.objects.filter(pk=host.pk).count(), answers
    Host.objects.filter(pk=host.pk).update(state="cordoned")
    reset()
print("all well")
"""


def test_of_two_only_one_passes(tmp_path: Path, postgres: str) -> None:  # noqa: F811
    race(RACE, tmp_path, postgres)
