"""The soak: eight clients, and something breaks every 20 seconds. `./test --soak [--minutes 10]` prints its figures."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.benches import a_bench
from tests.soak.chaos import Chaos
from tests.soak.clients import FLAVOR, PATIENCE_SECONDS, Book, Client
from tests.soak.figures import figures
from tests.stack import Stack, wait_until
from tests.tiny import tiny_image  # noqa: F401  the fixture

pytestmark = [pytest.mark.service, pytest.mark.soak, pytest.mark.timeout(0)]
CLIENTS = 8


@pytest.fixture
def bench(tiny_image: Path, tmp_path: Path) -> Iterator[Bench]:  # noqa: F811
    with a_bench(tmp_path, tiny_image) as bench:
        for slug, memory_mib in ((FLAVOR, 96), (f"{FLAVOR}-large", 128)):
            body = {"slug": slug, "name": slug, "vcpus": 1, "memory_mib": memory_mib, "disk_gib": 1}
            assert bench.stack.api("POST", "/flavors", body, user="admin").status_code == 201
        limits = {"vms": CLIENTS, "vcpus": CLIENTS, "memory_mib": CLIENTS * 128, "disk_gib": CLIENTS}
        assert bench.stack.api("PUT", "/quotas/demo", limits, user="admin").status_code == 200
        bench.stack.kill("worker")
        Stack.start_part(bench.stack, "worker")
        yield bench


def test_nothing_is_lost(bench: Bench, pytestconfig: pytest.Config) -> None:
    seconds = pytestconfig.getoption("--minutes") * 60
    seed = int(os.environ.get("BERTH_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"\nseed {seed} (BERTH_TEST_SEED)")
    book, stop = Book(), threading.Event()
    chaos = Chaos(bench, seed, stop)
    threads = [chaos, *(Client(number, seed, bench.stack, book, stop) for number in range(CLIENTS))]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join(timeout=6 * PATIENCE_SECONDS)
        assert not thread.is_alive(), f"{thread.name} does not come to an end"
    print(json.dumps(figures(book, chaos.blows, seconds), indent=2))
    judge(bench, book)


def judge(bench: Bench, book: Book) -> None:
    assert book.server_errors == []
    assert book.broken_promises == []
    assert not [record for record in book.operations if not record.end], "operations that never ended"
    # whether an interrupted reboot was done cannot be seen; all else is tried again until it is done
    assert not [record for record in book.operations if record.end == "failed" and record.code != "interrupted"]
    wait_until(lambda: bench.audit() == [], 30, f"an audit that finds nothing: {bench.audit()}")
    assert bench.stack.get("/vms")["results"] == []
    assert bench.host.domains() == set()
    assert set(bench.stack.get("/quotas/demo")["used"].values()) == {0}
