"""The matrix must notice: with a safeguard taken away, the cell that guards it turns red."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.benches import a_bench
from tests.faults.cells import Cell
from tests.faults.test_matrix import hit

pytestmark = [pytest.mark.service, pytest.mark.faults, pytest.mark.timeout(400)]
GUARDED = {
    "no-lease-check": (Cell("vm.create", "define", "worker-paused"), "leaves the operation alone"),
    "no-undo": (Cell("vm.create", "seed", "step-fails"), "traces"),
    "no-duplicate-guard": (Cell("vm.create", "disk", "delivered-twice"), "more than one worker"),
}


@pytest.fixture
def throwaway_bench(tiny_image: Path, tmp_path: Path) -> Iterator[Bench]:
    """Of its own, because what a test without safeguards leaves behind is anybody's guess."""
    with a_bench(tmp_path, tiny_image) as bench:
        yield bench


@pytest.mark.parametrize("mutation", GUARDED)
def test_the_matrix_notices(mutation: str, throwaway_bench: Bench) -> None:
    bench, (cell, words) = throwaway_bench, GUARDED[mutation]
    bench.mutation = mutation
    bench.kill_worker()
    with pytest.raises(AssertionError, match=words):
        hit(cell, bench, lambda name, value: None)
