"""Whether operations move, how many there are, and how long their steps take."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.redis import RedisCache
from django.db.models import Count, DurationField, ExpressionWrapper, F, Min, Q, Sum
from django.utils import timezone
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily, Metric

from portal.core.health import Finding
from portal.operations.models import Operation, OperationStep
from portal.operations.states import State, StepState
from portal.operations.tasks import WORKER_SEEN

LATELY = timedelta(minutes=15)
STEP_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


def worker() -> Finding:
    """A worker has run the reaper lately: so beat, broker and worker all do their part. Or all of it is at work."""
    seen = RedisCache.get(caches["default"], WORKER_SEEN)  # asked now, also when it was just away
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
    yield _step_durations()


def _step_durations() -> Metric:
    """From the journal's rows, so that they survive restarts and are the same from each process.

    Over the last minutes, so that the query costs what was done lately and not what was ever done. That makes it a
    histogram whose counts also go down: look at it as it is, without rate().
    """
    words = "How long steps took that were done in the last 15 minutes."
    family = GaugeHistogramMetricFamily("berth_operation_step_seconds", words, labels=["kind", "step"])
    seconds = ExpressionWrapper(F("finished_at") - F("started_at"), output_field=DurationField())
    within = {f"within_{i}": Count("pk", filter=Q(took__lte=timedelta(seconds=s))) for i, s in enumerate(STEP_SECONDS)}
    done = OperationStep.objects.filter(
        state=StepState.DONE, finished_at__gt=timezone.now() - LATELY, started_at__isnull=False
    )
    grouped = done.annotate(took=seconds).order_by().values("operation__kind", "name")
    found: Iterable[Any] = grouped.annotate(number=Count("pk"), total=Sum("took"), **within)
    for row in found:
        buckets = [(str(float(limit)), float(row[f"within_{i}"])) for i, limit in enumerate(STEP_SECONDS)]
        labels = [row["operation__kind"], row["name"]]
        family.add_metric(labels, [*buckets, ("+Inf", float(row["number"]))], row["total"].total_seconds())
    return family
