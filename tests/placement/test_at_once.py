"""Fifty who create machines at once, on PostgreSQL: no host is overfilled, no address given twice, no group broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import postgres  # noqa: F401  the fixture
from tests.stack import ROOT

pytestmark = pytest.mark.timeout(300)
RACE = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from django.core.management import call_command
from django.db import connection
from hosts.models import Host
from hosts.placement import NoCapacity, sites
from portal.quotas.models import Quota
from portal.tenancy.gate import SYSTEM
from tests.world import make_host, make_world
from vms.models import VM, Nic
from vms.services.create import CreateVM, create_vm

call_command("migrate", verbosity=0)
world = make_world()
Host.objects.update(state="cordoned")
for name in ("a", "b", "c"):
    make_host(name, cpus=1, cpu_ratio=12)
Quota.objects.update(vms=None, vcpus=None, memory_mib=None, disk_gib=None)
world.group("quorum", "apart")

def create(number):
    groups = ["quorum"] if number % 10 == 0 else []
    try:
        create_vm(actor=SYSTEM, request=CreateVM(f"n-{number}", "tiny", "small", "acme", groups=groups))
        return "made"
    except NoCapacity as refusal:
        return str(refusal.extra["constraint"])
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    finally:
        connection.close()

with ThreadPoolExecutor(50) as pool:
    answers = Counter(pool.map(create, range(50)))
full = [site.name for site in sites() if site.used and site.name in "abc" and site.used["vcpus"] > 12]
in_group = list(VM.objects.unscoped("test").filter(groups__name="quorum").values_list("host__name", flat=True))
addresses = list(Nic.objects.values_list("cluster", "ip"))
assert not full, full
assert len(in_group) == len(set(in_group)) <= 3, in_group
assert len(addresses) == len(set(addresses))
assert answers["made"] == 36 and set(answers) <= {"made", "capacity", "apart"}, answers
print("all well")
"""


def test_fifty_at_once(tmp_path: Path, postgres: str) -> None:  # noqa: F811
    environment = {**os.environ, "DATABASE_URL": postgres, "BERTH_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", RACE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("all well")
