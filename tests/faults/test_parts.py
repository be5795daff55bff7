"""The other parts of the portal die under an operation, once for each of two kinds: web, and beat."""

from __future__ import annotations

import pytest

from portal.operations import workflow
from tests.faults.bench import Bench
from tests.faults.cells import Cell
from tests.faults.faults import Fault, Operation, held_at
from tests.faults.scenarios import Scenario
from tests.faults.test_matrix import RECOVERY_SECONDS, Record, hit
from tests.stack import wait_until

pytestmark = [pytest.mark.service, pytest.mark.faults, pytest.mark.timeout(400)]
KINDS = ("vm.create", "vm.purge")
STATE = """
import json
from portal.operations.models import Operation
print(json.dumps(Operation.objects.unscoped("test").get(pk="{id}").state))
"""


def kill_web(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """Right after its answer 202, and it comes back only when the operation has ended."""
    operation = held_at(bench, scenario, f"before:{step}")
    bench.stack.kill("web")
    try:
        bench.release()
        code, seconds = STATE.format(id=operation["id"]), RECOVERY_SECONDS + scenario.seconds
        wait_until(lambda: bench.shell(code) in ("succeeded", "failed"), seconds, "the end while web is away")
    finally:
        bench.start_web()
    return operation


def kill_beat(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """It stays away until the end: nothing that goes well needs it."""
    operation = held_at(bench, scenario, f"during:{step}")
    bench.stack.kill("beat")
    bench.release()
    return operation


def kill_beat_and_worker(bench: Bench, scenario: Scenario, step: str) -> Operation:
    """Beat stays away: a worker that starts looks by itself for what was left."""
    operation = held_at(bench, scenario, f"during:{step}")
    bench.stack.kill("beat")
    bench.kill_worker()
    bench.start_worker()
    return operation


def start_beat(bench: Bench, operation: Operation) -> None:
    bench.stack.start_part("beat")


PARTS = {
    "web-killed": Fault(kill_web),
    "beat-killed": Fault(kill_beat, late=start_beat),
    "beat-and-worker-killed": Fault(kill_beat_and_worker, late=start_beat),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", KINDS)
def test_part(kind: str, part: str, bench: Bench, record_property: Record) -> None:
    hit(Cell(kind, workflow.workflow_of(kind).steps[0].name, part), bench, record_property, PARTS)
