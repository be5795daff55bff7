"""Fifty who create machines at once, on PostgreSQL: no host is overfilled, no address given twice, no group broken.

Whether each reads all hosts, or they share what one of them has read, as where there are many hosts.
"""

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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from django.core.management import call_command
from django.db import connection
from hosts import sites as of_sites
from hosts.models import Host
from hosts.placement import NoCapacity, sites
from portal.quotas.models import Quota
from portal.tenancy.gate import SYSTEM
from portal.tenancy.services import create_tenant
from tests.world import make_host, make_world
from vms.models import VM, Nic
from vms.services.create import CreateVM, create_vm

call_command("migrate", verbosity=0)
world = make_world()
tenants = ["acme", *(create_tenant(actor=SYSTEM, name=f"T {n}", slug=f"t-{n}").slug for n in range(1, 10))]
Quota.objects.update(vms=None, vcpus=None, memory_mib=None, disk_gib=None)

def create(turn, number):
    tenant = tenants[number % 10]  # those of one wait for each other at its quota
    groups = [f"quorum-{turn}"] if tenant == "acme" else []
    try:
        create_vm(actor=SYSTEM, request=CreateVM(f"{turn}-{number}", "tiny", "small", tenant, groups=groups))
        return "made"
    except NoCapacity as refusal:
        return str(refusal.extra["constraint"])
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    finally:
        connection.close()

for turn, of_sites.ALWAYS_READ in (("each-reads", 100), ("all-share", 0)):
    Host.objects.update(state="cordoned")
    hosts = [make_host(f"{turn}-{name}", cpus=1, cpu_ratio=12).name for name in "abc"]
    world.group(f"quorum-{turn}", "apart")
    first = create(turn, 0)
    with ThreadPoolExecutor(49) as pool:
        answers = Counter([first, *pool.map(partial(create, turn), range(1, 50))])
    full = [site.name for site in sites() if site.name in hosts and site.used["vcpus"] > 12]
    members = VM.objects.unscoped("test").filter(groups__name=f"quorum-{turn}")
    in_group = list(members.values_list("host__name", flat=True))
    addresses = list(Nic.objects.values_list("cluster", "ip"))
    assert not full, full
    assert len(in_group) == len(set(in_group)) <= 3, in_group
    assert len(addresses) == len(set(addresses))
    assert answers["made"] == 36 and set(answers) <= {"made", "capacity", "apart"}, (turn, answers)
print("all well")
"""


def test_fifty_at_once(tmp_path: Path, postgres: str) -> None:  # noqa: F811
    race(RACE, tmp_path, postgres)
