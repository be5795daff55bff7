"""The name of a worker process, by which others on the same machine can tell that it is gone."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def own_name() -> str:
    """Where it runs, its process id and when it began: never the name of another process."""
    pid = os.getpid()
    return f"{_place()}:{pid}:{_began(pid)}"


def is_gone(name: str) -> bool:
    """True only where it is certain: the worker ran on this machine, in this PID namespace, and lives no more.

    Of a worker elsewhere nothing is known; its lease has to run out.
    """
    place, _, process = name.partition(":")
    pid, _, began = process.partition(":")
    return place == _place() and pid.isdigit() and _began(int(pid)) != began


@cache
def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}".replace(":", "")


def _began(pid: int) -> str:
    """Clock ticks since boot (proc(5), stat field 22); "" where no such process runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
