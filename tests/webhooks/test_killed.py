"""Workers that are killed at any point: nothing is lost, and nothing new overtakes what was before it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.postgres import postgres  # noqa: F401  a fixture
from tests.stack import ROOT
from tests.webhooks.receiver import receiving

COUNT = 60
DJANGO = "import django; django.setup()\n"
MAKE = """
from portal.accounts.models import User
from portal.events import log
from portal.tenancy.gate import SYSTEM
from portal.tenancy.services import create_tenant
from portal.webhooks.services import create
tenant = create_tenant(actor=SYSTEM, name="Acme", slug="acme")
create(actor=SYSTEM, tenant=tenant, url="{url}", kinds=["vm"])
for n in range({count}):
    log.record("vm.counted", actor=SYSTEM, target=tenant, n=n)
"""
WORK = """
from datetime import timedelta
from django.core.cache import cache
from portal.webhooks import courier, line, round
line.SECONDS = 0.2
courier.LEASE = timedelta(seconds=1)
courier.FREE = courier.Q(lease_until=None) | courier.Q(lease_until__lte=courier.Now())
round.FREE = courier.FREE
round.cache.add = lambda *rest: True
while True:
    round.go_round(seconds=1.0)
"""


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
def test_killed_at_any_point(on: str, request: pytest.FixtureRequest, tmp_path: Any) -> None:
    url = request.getfixturevalue("postgres") if on == "postgresql" else f"sqlite:///{tmp_path}/db.sqlite3"
    dice = random.Random(7)
    with receiving() as receiver:
        allowed = {"BERTH_WEBHOOK_URL_HTTP": "1", "BERTH_WEBHOOK_URL_ALLOW": receiver.place}
        environment = {**os.environ, "DATABASE_URL": url, "BERTH_DATA": str(tmp_path), **allowed}
        environment["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        receiver.fault = lambda count: "lost" if dice.random() < 0.1 else ""
        run = {"cwd": ROOT, "env": environment}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], check=True, timeout=300, **run)  # type: ignore[call-overload]
        make = DJANGO + MAKE.format(url=receiver.url, count=COUNT)
        subprocess.run([sys.executable, "-c", make], check=True, timeout=120, **run)  # type: ignore[call-overload]
        until, killed = time.monotonic() + 240, 0
        while len({message.id for message in receiver.taken}) < COUNT and time.monotonic() < until:
            before = len(receiver.seen)
            worker = subprocess.Popen([sys.executable, "-c", DJANGO + WORK], **run)  # type: ignore[call-overload]
            wanted = before + dice.randint(3, 20)
            while len(receiver.seen) < wanted and len({each.id for each in receiver.taken}) < COUNT:
                if time.monotonic() > until:
                    break
                time.sleep(dice.uniform(0, 0.01))
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            killed += 1
    assert killed >= 3
    first_seen = list(dict.fromkeys(message.body["data"]["data"]["n"] for message in receiver.taken))
    assert first_seen == list(range(COUNT))
