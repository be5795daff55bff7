"""A live migration by the driver against `virsh migrate` of the same guest, in one run.

    .venv/bin/python -m tests.bench.migrate [--rounds 10] [--memory-mib 128]

Two lab hosts, a tiny Linux that counts, its disk on storage that both see. In turn, there and back, so
that a slow spell of the machine hits both. Ours is what the workflow does: it begins and looks again until the hosts
are done. Total is the caller's, from the call to the answer; downtime is what libvirt has measured at the other host.
Prints one JSON object; the goal is a ratio of 1.15 for both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from dataclasses import dataclass, replace
from itertools import cycle

import django

from hosts.driver import open_driver
from hosts.driver.base import Driver
from hosts.driver.types import DiskSpec, DomainSpec, Journey
from tests.console import Console
from tests.driver.guests import guest
from tests.lab.fixtures import Lab, LabHost
from tests.tiny import build_tiny

POOL, NETWORK = "berth-shared", "berth"
MIB = 1 << 20
COUNT = "{ (n=0; while :; do n=$((n+1)); echo $n > /tmp/count; sleep 0.1; done) >/dev/null 2>&1 & }"


@dataclass(frozen=True)
class End:
    """One of the two hosts."""

    host: LabHost
    driver: Driver
    uri: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--memory-mib", type=int, default=128)
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    lab = Lab()
    try:
        ends = [End(host, open_driver(host.tcp_uri), host.tcp_uri) for host in lab.up(2)]
        for end in ends:
            end.driver.ensure_pool(POOL, lab.directory / "shared" / "pool")
        print(json.dumps(measure(ends, booted(ends, given.memory_mib), given.rounds), indent=2))
    finally:
        lab.down()


def booted(ends: list[End], memory_mib: int) -> DomainSpec:
    """It runs at the first end, and counts: one that writes much takes more passes or fewer by chance."""
    driver = ends[0].driver
    driver.upload(POOL, "image", build_tiny(), "qcow2")
    driver.ensure_overlay(POOL, "disk", "image", 1024 * MIB)
    ends[1].driver.refresh_pool(POOL)
    spec = guest(memory_mib=memory_mib, disks=(DiskSpec(POOL, "disk", "vda"),), attempt=1)
    driver.define(spec)
    driver.start(spec.uuid)
    with driver.open_serial(spec.uuid) as connection:
        console = Console(connection)
        console.become_root()
        console.command(COUNT)
    return spec


def measure(ends: list[End], spec: DomainSpec, rounds: int) -> dict[str, object]:
    there, back = ends
    took: dict[str, list[tuple[float, float]]] = {"ours": [], "virsh": []}
    ways = cycle(["ours", "virsh", "virsh", "ours"])  # each as often there as back
    for attempt in range(2, 2 * rounds + 2):
        way = next(ways)
        began = time.perf_counter()
        ours(there, back, replace(spec, attempt=attempt)) if way == "ours" else virsh(there, back, spec)
        total = time.perf_counter() - began
        cost = back.driver.arrival(spec.uuid)
        assert cost is not None
        took[way].append((total, cost.downtime_ms / 1000))
        there, back = back, there
    return report(took)


def ours(there: End, back: End, spec: DomainSpec) -> None:
    """Looked at as the workflow does."""
    from vms.workflows.watch import FIRST_AGAIN_SECONDS, LAST_AGAIN_SECONDS, PAUSES

    pauses = iter((*PAUSES, FIRST_AGAIN_SECONDS))
    while not there.driver.migrate(spec, Journey(back.uri), lambda: None).is_complete:
        time.sleep(next(pauses, LAST_AGAIN_SECONDS))


def virsh(there: End, back: End, spec: DomainSpec) -> None:
    ways = ["--live", "--p2p", "--persistent", "--undefinesource", "--unsafe", "--auto-converge"]
    subprocess.run(["virsh", "-q", "-c", there.uri, "migrate", *ways, str(spec.uuid), back.uri], check=True)


def report(took: dict[str, list[tuple[float, float]]]) -> dict[str, object]:
    total = {way: statistics.median(total for total, _ in costs) for way, costs in took.items()}
    downtime = {way: statistics.median(downtime for _, downtime in costs) for way, costs in took.items()}
    return {
        "seconds": {way: round(value, 2) for way, value in total.items()},
        "downtime_seconds": {way: round(value, 3) for way, value in downtime.items()},
        "total_ratio": round(total["ours"] / total["virsh"], 2),
        "downtime_ratio": round(downtime["ours"] / downtime["virsh"], 2),
    }


if __name__ == "__main__":
    main()
