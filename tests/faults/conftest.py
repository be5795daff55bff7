"""Benches, one for each database and process, and the table at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.bench import Bench
from tests.faults.benches import a_bench
from tests.faults.report import in_words, write
from tests.postgres import postgres  # noqa: F401  the fixture
from tests.tiny import tiny_image  # noqa: F401  the fixture

PLACE = Path(os.environ.get("BERTH_DATA", "var/test")) / "faults"


@pytest.fixture(scope="package")
def bench(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:  # noqa: F811
    with a_bench(tmp_path_factory.mktemp("portal"), tiny_image) as bench:
        yield bench


@pytest.fixture(scope="package")
def bench_on_postgres(
    tiny_image: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
    postgres: str,  # noqa: F811
) -> Iterator[Bench]:
    with a_bench(tmp_path_factory.mktemp("portal-pg"), tiny_image, postgres) as bench:
        yield bench


results: list[dict[str, Any]] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Of all processes of xdist, in the one that they report to; written at once, for a run may be cut off."""
    found = dict(report.user_properties)
    if report.when == "call" and "cell" in found and "PYTEST_XDIST_WORKER" not in os.environ:
        results.append({**found, "passed": report.passed})
        write(results, PLACE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if results:
        terminalreporter.write_line(in_words(results, PLACE))
