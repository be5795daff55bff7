"""Eight schedulers turn at once, as after a beat that was started twice: each due time is taken by one of them."""

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
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from django.core.management import call_command
from django.db import connections
from django.utils import timezone
from tests.world import make_world
from vms.models import Schedule, ScheduleRun, Snapshot
from vms.scheduling.turn import turn

call_command("migrate", verbosity=0)
world = make_world()
now = timezone.now()
ids = [world.schedule("web").pk, world.schedule("cold").pk]
Schedule.objects.unscoped("test").update(due_at=now, next_at=now)

def one(_):
    turn(now + timedelta(seconds=1))
    connections.close_all()

with ThreadPoolExecutor(8) as pool:
    list(pool.map(one, range(16)))
runs = ScheduleRun.objects.values_list("schedule_id", "outcome")
assert sorted(runs) == sorted((id, "started") for id in ids), list(runs)
assert Snapshot.objects.unscoped("test").count() == 2
print("once")
"""


def race(database_url: str, data: Path) -> str:
    environment = {**os.environ, "DATABASE_URL": database_url, "BERTH_DATA": str(data)}
    done = subprocess.run([sys.executable, "-c", RACE], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def test_on_sqlite(tmp_path: Path) -> None:
    assert race(f"sqlite:///{tmp_path / 'race.sqlite3'}", tmp_path) == "once"


def test_on_postgresql(tmp_path: Path, postgres: str) -> None:  # noqa: F811
    assert race(postgres, tmp_path) == "once"
