"""What a plan takes: asked for at each pause of somebody who fills in a form.

    .venv/bin/python -m tests.bench.plans [--machines 10000] [--plans 200]

A tenant with so many machines (rows of claims and intervals) and prices with tiers, on SQLite; plans of a create that
fits, and of one that does not, for which smaller sizes are tried. Prints milliseconds of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.private_redis import PrivateRedis

# Time of the processor that this thread had: what others do on the machine meanwhile is no cost of ours.
CLOCK = time.thread_time
AT_ONCE = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=10_000)
    parser.add_argument("--plans", type=int, default=200)
    given = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.test.utils import setup_databases, setup_test_environment

    redis = PrivateRedis()
    redis.use()
    setup_test_environment()
    setup_databases(verbosity=0, interactive=False)
    print(json.dumps({"machines": given.machines, **measure(given.machines, given.plans)}, indent=2))
    redis.stop()


def measure(machines: int, plans: int) -> dict[str, Any]:
    from portal.quotas.services import set_limits
    from portal.tenancy.gate import SYSTEM, actor_for
    from tests.world import make_world

    world = make_world()
    fill(world, machines)
    set_limits(actor=SYSTEM, tenant=world.acme, limits=dict.fromkeys(("vms", "vcpus", "memory_mib", "disk_gib")))
    actor = actor_for(world.people["owner"])
    fits = times(actor, "small", plans)
    set_limits(actor=SYSTEM, tenant=world.acme, limits={"vcpus": machines + 5})
    return {"that_fits_ms": fits, "that_does_not_ms": times(actor, "large", plans)}


def fill(world: Any, count: int) -> None:
    from django.utils import timezone

    from portal.billing.models import Interval
    from portal.billing.services import NewPrice, create_book
    from portal.core.ids import uuid7
    from portal.quotas.models import Claim
    from portal.tenancy.gate import SYSTEM

    prices = [NewPrice(meter, Decimal("0.01")) for meter in ("vcpu", "memory", "disk", "address")]
    prices.append(NewPrice("vcpu", Decimal("0.005"), above=Decimal(100_000)))
    since = timezone.now() - timedelta(days=1)
    create_book(actor=SYSTEM, name="Prices", currency="EUR", since=since, prices=prices)
    held = {"vms": 1, "vcpus": 1, "memory_mib": 128, "disk_gib": 1}
    for first in range(0, count, AT_ONCE):
        ids = [uuid7() for _ in range(min(AT_ONCE, count - first))]
        Claim.objects.bulk_create(
            Claim(account_id=world.acme.pk, holder_id=id, resource=name, amount=amount)
            for id in ids
            for name, amount in held.items()
        )
        Interval.objects.bulk_create(
            Interval(tenant=world.acme, resource_type="vm", resource_id=id, meter=meter, amount=1, since=since)
            for id in ids
            for meter in ("vcpu", "memory", "disk", "address")
        )


def times(actor: Any, flavor: str, count: int) -> dict[str, float]:
    from vms.planning.services import draft

    body = {"name": "new", "image": "tiny", "flavor": flavor, "tenant": "acme"}
    found = []
    for _ in range(count):
        begun = CLOCK()
        draft(actor=actor, action="vm.create", body=body)
        found.append(1000 * (CLOCK() - begun))
    return {"p50": round(statistics.median(found), 1), "p95": round(statistics.quantiles(found, n=20)[-1], 1)}


if __name__ == "__main__":
    main()
