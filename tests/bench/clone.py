"""A linked clone's disk against `qemu-img create -b`, a full one's against `qemu-img convert`, in one run.

    .venv/bin/python -m tests.bench.clone [--rounds 5] [--mib 1024]

Ours is what the driver does on a lab host, from the call to a disk that is there and durable. Beside it, on the same
file system: the tools that one would use by hand, each in the ways that leave durable data, of which the fastest
counts. In turn, so that a slow spell of the machine hits all. Prints one JSON object; goals: linked 1.3, full 1.1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import django

from hosts.driver import open_driver
from hosts.driver.base import Driver
from tests.lab.fixtures import Lab

POOL, SOURCE = "bench", "source"
GIB, MIB = 1 << 30, 1 << 20
CONVERT = ["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2"]
BY_HAND = {
    "convert -t none": [*CONVERT, "-t", "none"],
    "convert -t none -T none": [*CONVERT, "-t", "none", "-T", "none"],
    "convert -t none -T none -W -m 16": [*CONVERT, "-t", "none", "-T", "none", "-W", "-m", "16"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024)
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    lab = Lab()
    try:
        host = lab.up(1)[0]
        driver, directory = open_driver(host.uri), host.directory / POOL
        driver.ensure_pool(POOL, directory)
        upload_source(driver, given.mib)
        print(json.dumps(measure(driver, directory, given.rounds), indent=2))
        driver.close()
    finally:
        lab.down()


def upload_source(driver: Driver, mib: int) -> None:
    """Random data, which no tool can leave out or pack."""
    with tempfile.TemporaryDirectory() as folder:
        raw, made = Path(folder) / "raw", Path(folder) / "qcow2"
        with raw.open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, made], check=True)
        raw.unlink()
        driver.upload(POOL, SOURCE, made, "qcow2")


def measure(driver: Driver, directory: Path, rounds: int) -> dict[str, object]:
    took: dict[str, list[float]] = {}

    def note(name: str, work: Callable[[Path], None]) -> None:
        made = directory / uuid4().hex
        began = time.perf_counter()
        work(made)
        took.setdefault(name, []).append(time.perf_counter() - began)
        driver.delete_volume(POOL, made.name)
        made.unlink(missing_ok=True)

    for _ in range(rounds):
        note("linked", lambda made: link(driver, made))
        note("create -b", lambda made: create(directory, made))
        note("full", lambda made: copy(driver, made))
        for name, command in BY_HAND.items():
            note(name, lambda made, command=command: convert(command, directory, made))  # type: ignore[misc]
    return report({name: statistics.median(times) for name, times in took.items()})


def report(seconds: dict[str, float]) -> dict[str, object]:
    fastest = min(BY_HAND, key=lambda name: seconds[name])
    return {
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "linked_ratio": round(seconds["linked"] / seconds["create -b"], 2),
        "full_ratio": round(seconds["full"] / seconds[fastest], 2),
        "fastest_by_hand": fastest,
    }


def link(driver: Driver, made: Path) -> None:
    driver.ensure_overlay(POOL, made.name, SOURCE, 2 * GIB)


def create(directory: Path, made: Path) -> None:
    backing = ["-b", directory / SOURCE, "-F", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, made, str(2 * GIB)], check=True)


def copy(driver: Driver, made: Path) -> None:
    """Looked at as the workflow does."""
    from vms.workflows.watch import FIRST_AGAIN_SECONDS, LAST_AGAIN_SECONDS, PAUSES

    job, pauses = uuid4(), iter((*PAUSES, FIRST_AGAIN_SECONDS))
    while not driver.copy_volume(job, 1, POOL, SOURCE, made.name).is_complete:
        time.sleep(next(pauses, LAST_AGAIN_SECONDS))


def convert(command: list[str], directory: Path, made: Path) -> None:
    subprocess.run([*command, directory / SOURCE, made], check=True)
    with made.open("rb+") as file:
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
