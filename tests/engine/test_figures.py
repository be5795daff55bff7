"""What /metrics says of operations."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from portal.operations.health import metrics
from portal.operations.models import Operation, OperationStep
from portal.operations.states import State, StepState

pytestmark = pytest.mark.django_db


class Collector:
    def collect(self) -> Iterable[Metric]:
        return metrics()


def figures() -> dict[tuple[str, ...], float]:
    """As Prometheus reads them: (name, label values in the order of their names) → value."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    return {(each.name, *(each.labels[name] for name in sorted(each.labels))): each.value for each in samples}


def operation(kind: str, state: State, *steps: tuple[str, float, timedelta], age: timedelta = timedelta()) -> None:
    """`steps` are (name, seconds that it took, how long ago it ended)."""
    now = timezone.now()
    names = {"title": "x", "target_type": "vm", "target_name": "x", "actor": "x", "source": "x"}
    row = Operation.objects.create(kind=kind, state=state, target_id=uuid4(), deadline_at=now, **names)
    Operation.objects.unscoped("test").filter(pk=row.pk).update(created_at=now - age)
    for position, (name, seconds, ago) in enumerate(steps):
        ended = now - ago
        OperationStep.objects.create(
            operation=row,
            position=position,
            name=name,
            title=name,
            state=StepState.DONE,
            started_at=ended - timedelta(seconds=seconds),
            finished_at=ended,
        )


NOW = timedelta(seconds=1)


def test_operations_by_kind_and_state_and_the_oldest_that_waits() -> None:
    for kind, state in [("vm.create", State.SUCCEEDED)] * 2 + [("vm.create", State.STUCK), ("vm.delete", State.QUEUED)]:
        operation(kind, state, age=timedelta(hours=1))
    found = figures()
    assert found[("berth_operations", "vm.create", "succeeded")] == 2
    assert found[("berth_operations", "vm.create", "stuck")] == 1
    assert found[("berth_operations", "vm.delete", "queued")] == 1
    assert 3600 <= found[("berth_operations_oldest_queued_seconds",)] < 3660


def test_nothing_waits() -> None:
    operation("vm.create", State.RUNNING, age=timedelta(hours=1))
    assert figures()[("berth_operations_oldest_queued_seconds",)] == 0


def test_how_long_steps_took() -> None:
    operation("vm.create", State.SUCCEEDED, ("disk", 0.2, NOW), ("start", 4.0, NOW))
    operation("vm.create", State.SUCCEEDED, ("disk", 0.7, NOW), ("start", 400.0, NOW))
    found = figures()

    def bucket(step: str, limit: str) -> float:
        return found[("berth_operation_step_seconds_bucket", "vm.create", limit, step)]

    assert [bucket("disk", limit) for limit in ("0.1", "0.25", "0.5", "1.0", "+Inf")] == [0, 1, 1, 2, 2]
    assert [bucket("start", limit) for limit in ("2.5", "5.0", "300.0", "+Inf")] == [0, 1, 1, 2]
    assert found[("berth_operation_step_seconds_gsum", "vm.create", "disk")] == pytest.approx(0.9)
    assert found[("berth_operation_step_seconds_gcount", "vm.create", "disk")] == 2


def test_what_was_done_long_ago_and_what_is_not_done_does_not_count() -> None:
    operation("vm.create", State.SUCCEEDED, ("disk", 1.0, timedelta(minutes=16)))
    operation("vm.create", State.RUNNING, ("disk", 1.0, NOW))
    OperationStep.objects.filter(operation__state=State.RUNNING).update(state=StepState.RUNNING, finished_at=None)
    assert not [key for key in figures() if key[0].startswith("berth_operation_step_seconds") and "disk" in key]


def test_the_query_reads_what_was_done_lately_by_an_index() -> None:
    operation("vm.create", State.SUCCEEDED, ("disk", 1.0, NOW))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        figures()
    (steps,) = [query["sql"] for query in queries if "operations_operationstep" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {steps}")
        plan = " ".join(str(row) for row in cursor.fetchall())
    assert "step_by_end" in plan
