"""Benches, one for each database and process, and the table at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.bench import Bench
from tests.faults.benches import a_bench
from tests.postgres import postgres  # noqa: F401  the fixture
from tests.tiny import tiny_image  # noqa: F401  the fixture


@pytest.fixture(scope="session")
def bench(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:  # noqa: F811
    with a_bench(tmp_path_factory.mktemp("portal"), tiny_image) as bench:
        yield bench


@pytest.fixture(scope="session")
def bench_on_postgres(
    tiny_image: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
    postgres: str,  # noqa: F811
) -> Iterator[Bench]:
    with a_bench(tmp_path_factory.mktemp("portal-pg"), tiny_image, postgres) as bench:
        yield bench


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Of all processes of xdist together."""
    results = [
        {**dict(each.user_properties), "passed": outcome == "passed"}
        for outcome in ("passed", "failed")
        for each in terminalreporter.stats.get(outcome, [])
        if each.when == "call" and "cell" in dict(each.user_properties)
    ]
    if results:
        place = Path(os.environ.get("BERTH_DATA", "var/test")) / "faults"
        terminalreporter.write_line(report.write(results, place))
