"""Whether operations move, and how many there are."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.cache import cache
from django.db.models import Count, Min
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric

from portal.core.health import Finding
from portal.operations.models import Operation
from portal.operations.states import State
from portal.operations.tasks import WORKER_SEEN


def worker() -> Finding:
    """A worker has run the reaper lately: so beat, broker and worker all do their part. Or all of it is at work."""
    seen = cache.get(WORKER_SEEN)
    if seen is None and Operation.objects.unscoped("health").filter(lease_until__gt=timezone.now()).exists():
        return Finding(True, "All of its processes are at work.")
    if seen is None:
        return Finding(False, "No worker was heard of for 30 seconds.")
    return Finding(True, facts={"seen_at": seen})


def metrics() -> Iterable[Metric]:
    rows = Operation.objects.unscoped("metrics")
    counts = GaugeMetricFamily("berth_operations", "Operations by kind and state.", labels=["kind", "state"])
    for kind, state, number in rows.order_by().values_list("kind", "state").annotate(number=Count("pk")):
        counts.add_metric([kind, state], number)
    yield counts
    oldest = rows.filter(state=State.QUEUED).aggregate(at=Min("created_at"))["at"]
    age = (timezone.now() - oldest).total_seconds() if oldest else 0.0
    yield GaugeMetricFamily("berth_operations_oldest_queued_seconds", "Age of the oldest queued operation.", value=age)
