"""The usage report and the charges of a month, with 1,000 and with 10,000 machines: time, and memory at its most.

    .venv/bin/python -m tests.bench.usage

Rows are made in a database of its own. Each machine has a disk and an address, and is stopped and started four times in
the month. Each figure is taken in a process that does nothing else; what counts is that memory stays the same and that
time grows no faster than the number of machines. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

SIZES = (1_000, 10_000)
MONTH = datetime(2026, 3, 1, tzinfo=UTC)
JOBS = ("nothing", "usage", "charges", "export")


def main() -> None:
    result: dict[str, Any] = {}
    for machines in SIZES:
        with tempfile.TemporaryDirectory() as data:
            environ = {**os.environ, "BERTH_DATA": data, "DJANGO_SETTINGS_MODULE": "portal.settings"}
            result[str(machines)] = {job: _in_own_process(job, machines, environ) for job in ("fill", *JOBS)}
    print(json.dumps(result, indent=2))


def _in_own_process(job: str, machines: int, environ: dict[str, str]) -> Any:
    command = [sys.executable, "-m", "tests.bench.usage", job, str(machines)]
    return json.loads(subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE).stdout)


def work(job: str, machines: int) -> dict[str, Any]:
    import django

    django.setup()
    began, cpu = time.perf_counter(), time.process_time()
    rows = globals()[job](machines)
    return {
        "rows": rows,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "most_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def fill(machines: int) -> int:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from decimal import Decimal

    from portal.billing.meters import UNITS
    from portal.billing.models import Interval
    from portal.billing.services import NewPrice, create_book
    from portal.tenancy.gate import SYSTEM
    from portal.tenancy.services import create_tenant

    tenant = create_tenant(actor=SYSTEM, name="Bench", slug="bench")
    prices = [NewPrice(meter, Decimal("0.0123456789")) for meter in UNITS]
    create_book(actor=SYSTEM, name="Prices", currency="EUR", since=MONTH - timedelta(days=1), prices=prices)
    for first in range(0, machines, 500):
        rows = [row for number in range(first, first + 500) for row in _life(tenant.pk, number)]
        Interval.objects.bulk_create(rows, batch_size=500)
    return Interval.objects.unscoped("bench").count()


def _life(tenant_id: UUID, number: int) -> list[Any]:
    from portal.billing.models import Interval

    vm, disk = UUID(int=number * 2 + 1), UUID(int=number * 2 + 2)
    common = {"tenant_id": tenant_id, "machine_id": vm, "resource_name": f"vm-{number}"}
    of_vm, of_disk = (
        {"resource_type": kind, "resource_id": id, **common} for kind, id in (("vm", vm), ("volume", disk))
    )
    begin = MONTH + timedelta(seconds=number)
    moments = [begin + timedelta(hours=70 * turn) for turn in range(9)] + [None]
    rows = [Interval(meter="address", amount=1, since=begin, **of_vm)]
    rows += [Interval(meter="disk", grade="standard", amount=20, since=begin, **of_disk)]
    for turn, (since, until) in enumerate(pairwise(moments)):
        off = "-off" if turn % 2 else ""
        for meter, amount in (("vcpu", 2), ("memory", 2048)):
            facts = {"meter": meter + off, "grade": "burstable", "amount": amount}
            rows.append(Interval(since=since, until=until, **facts, **of_vm))
    return rows


def nothing(machines: int) -> int:
    return 0


def usage(machines: int) -> int:
    from portal.billing import usage
    from portal.billing.models import Interval
    from portal.billing.months import Month

    month = Month(MONTH)
    return sum(1 for _ in usage.sums(Interval.objects.unscoped("bench"), month.since, month.until))


def charges(machines: int) -> int:
    return sum(1 for _ in _charges())


def export(machines: int) -> int:
    """As bytes that go nowhere."""
    from portal.billing import focus

    found = focus.comma_separated(focus.rows(_charges(), {}, "Berth"), focus.COLUMNS["focus-1.2"])
    return sum(1 for _ in found)


def _charges() -> Any:
    from portal.billing import selectors
    from portal.billing.months import Month
    from portal.tenancy.gate import SYSTEM

    return selectors.charges(SYSTEM, selectors.Filter(), [Month(MONTH)])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(work(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
