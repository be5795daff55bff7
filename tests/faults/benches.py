"""Setting up a portal over a host of its own, whose storage pool is a small file system."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.bench import POOL_GIB, Bench
from tests.faults.forked import ForkedStack
from tests.faults.scenarios.base import FLAVORS
from tests.lab.fixtures import Lab
from tests.stack import running


@contextmanager
def a_bench(data: Path, tiny: Path, database_url: str = "") -> Iterator[Bench]:
    lab = Lab()
    with small_file_system(lab) as small:
        try:
            host, second = lab.up(2)
            stack = ForkedStack(data, host.uri, small / "pool", tiny, database_url=database_url)
            with running(stack):
                bench, stop = ready(Bench(stack, host, second)), threading.Event()
                threading.Thread(target=bench.keep_running, args=(stop,), daemon=True).start()
                try:
                    yield bench
                finally:
                    stop.set()
        finally:
            subprocess.run(["umount", "--lazy", small], check=True)
            lab.down()


@contextmanager
def small_file_system(lab: Lab) -> Iterator[Path]:
    """Mounted before the host is up, so that it is seen from inside. A sparse file: what fills it costs no storage."""
    image, small = lab.directory.with_suffix(".ext4"), lab.directory / "h1" / "small"
    small.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(POOL_GIB << 30)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, small], check=True)
        yield small
    finally:
        image.unlink()


def ready(bench: Bench) -> Bench:
    for flavor in FLAVORS:
        body = {**flavor, "name": flavor["slug"], "vcpus": 1}
        assert bench.stack.api("POST", "/flavors", body, user="admin").status_code == 201
    bench.stack.kill("worker")  # for one that takes orders
    bench.start_worker()
    return bench
