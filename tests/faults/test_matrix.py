"""The fault matrix: whatever breaks at whichever step, each operation ends, and ends truthfully.

`./test` runs the short form, `./test --faults` all of it; one cell: `./test --faults -k vm.create-disk-kill-during`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest

from portal.operations import workflow
from tests.faults import cells
from tests.faults.bench import Bench
from tests.faults.cells import Cell
from tests.faults.faults import FAULTS, Fault, nothing
from tests.faults.scenarios import SCENARIOS

pytestmark = [pytest.mark.service, pytest.mark.timeout(400)]
RECOVERY_SECONDS = 30
Record = Callable[[str, object], None]


def test_every_kind_is_in_the_matrix() -> None:
    """A new kind of operation needs a scenario: how it is asked for, and what must be true afterwards."""
    assert set(SCENARIOS) == set(workflow.kinds())


def parameters(found: list[Cell]) -> list[object]:
    """Of the whole matrix only the short form runs without --faults (see conftest)."""
    short = set(cells.short())
    return [pytest.param(cell, id=str(cell), marks=() if cell in short else pytest.mark.faults) for cell in found]


@pytest.mark.parametrize("cell", parameters(cells.whole()))
def test_cell(cell: Cell, bench: Bench, record_property: Record) -> None:
    hit(cell, bench, record_property)


@pytest.mark.faults
@pytest.mark.parametrize("cell", cells.on_postgres(), ids=str)
def test_cell_on_postgresql(cell: Cell, bench_on_postgres: Bench, record_property: Record) -> None:
    hit(cell, bench_on_postgres, record_property)


def hit(cell: Cell, bench: Bench, record: Record, faults: Mapping[str, Fault] = FAULTS) -> None:
    database = "" if not bench.stack.database_url else " (PostgreSQL)"
    record("cell", f"{cell.kind}/{' '.join(filter(None, (cell.variant, cell.step)))}{database}/{cell.fault}")
    bench.heal()
    scenario, fault = SCENARIOS[cell.kind](bench, cell.variant), faults[cell.fault]
    scenario.prepare()
    operation = fault.place(bench, scenario, cell.step)
    over_at = time.monotonic()
    operation = bench.stack.finished(operation, seconds=RECOVERY_SECONDS + scenario.seconds, user="admin")
    record("seconds", round(time.monotonic() - over_at, 1))
    record("end", operation["status"])
    fault.settle(bench, operation)
    scenario.check(operation)
    if operation["status"] == "succeeded":
        assert bench.audit() == []  # a resolution that failed leaves its drift, and a page says so
    scenario.clean_up()
    fault.late(bench, operation)
    if operation["status"] != "succeeded" or fault.late is not nothing:
        assert bench.audit() == []
    bench.is_suspect = False
