"""Two who ask for something of one chain of backups at once: one waits for the other, never both (PostgreSQL)."""

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
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from django.core.management import call_command
from django.db import connection, transaction
from portal.core.errors import Conflict
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM
from tests.world import make_world
from vms.models import VM, Backup
from vms.services import backups
from vms.workflows import drop_backup

call_command("migrate", verbosity=0)
world = make_world()
Operation.objects.unscoped("test").all().delete()
first = world.backup()
second = world.backup(parent=first)
third = world.backup(parent=second)
vm_id = world.machines["web"].pk

def of(row):
    return {"actor": SYSTEM, "backup": Backup.objects.unscoped("test").get(pk=row.pk)}

CALLS = {
    "back up": lambda: backups.back_up(actor=SYSTEM, vm=VM.objects.unscoped("test").get(pk=vm_id)),
    "restore": lambda: backups.restore(**of(third)),
    "restore as new": lambda: backups.restore_as_new(**of(third), name="again"),
    "verify": lambda: backups.verify(**of(third)),
    "delete the second": lambda: backups.delete(**of(second)),
    "delete the third": lambda: backups.delete(**of(third)),
    "end a deletion": lambda: drop_backup._hand_on(first),
}

def slowly(execute, sql, params, many, context):
    try:
        return execute(sql, params, many, context)
    finally:
        if "FOR UPDATE" in sql or "FOR NO KEY UPDATE" in sql:
            time.sleep(0.05)

def call(name, barrier):
    try:
        with connection.execute_wrapper(slowly), transaction.atomic():
            barrier.wait()
            CALLS[name]()
            transaction.set_rollback(True)
    except Conflict:
        pass
    except Exception as error:
        return f"{name}: {error}"
    finally:
        connection.close()

failed = set()
with ThreadPoolExecutor(2) as pool:
    for one in CALLS:
        for other in CALLS:
            if one < other:
                barrier = Barrier(2)
                answers = pool.map(call, (one, other), (barrier, barrier))
                failed |= {f"{one} and {other}: {answer[:100]}" for answer in answers if answer}
print("; ".join(sorted(failed)) or "no deadlock")
"""


def test_nobody_waits_for_each_other(tmp_path: Path, postgres: str) -> None:  # noqa: F811
    environment = {**os.environ, "DATABASE_URL": postgres, "BERTH_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", RACE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "no deadlock"
