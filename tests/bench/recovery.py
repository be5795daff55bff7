"""From SIGKILL of the worker to the operation moving again, in one run.

    .venv/bin/python -m tests.bench.recovery [--rounds 20]

A create is held at a step, the worker with all its processes is killed there, and the clock runs until some process
begins that step again. `restarted`: there was one worker, and it is started anew at once, as the supervisor does.
`taken_over`: a second worker lives, and finds out. Prints one JSON object, in seconds.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.fixtures import Lab
from tests.stack import Stack, running, wait_until
from tests.tiny import build_tiny

STEP = "seed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    lab = Lab()
    try:
        with tempfile.TemporaryDirectory() as data:
            host = lab.up(1)[0]
            stack = Stack(Path(data), host.uri, host.directory / "pool", build_tiny())
            with running(stack):
                print(json.dumps(measure(stack, rounds), indent=2))
    finally:
        lab.down()


def measure(stack: Stack, rounds: int) -> dict[str, object]:
    stack.delete(stack.create())  # the image is on the host
    stack.kill("worker")
    stack.start_part("worker", BERTH_TEST_HOLD="")
    restarted = [recovery(stack, restart) for _ in range(rounds)]
    stack.start_part("worker-2", BERTH_TEST_HOLD="")
    taken_over = []
    for _ in range(rounds):
        taken_over.append(recovery(stack, lambda stack, part: None))
        dead = next(part for part in ("worker", "worker-2") if part not in stack.parts)
        stack.start_part(dead, BERTH_TEST_HOLD="")
    return {"rounds": rounds, "restarted": spread(restarted), "taken_over": spread(taken_over)}


def restart(stack: Stack, part: str) -> None:
    stack.start_part(part, BERTH_TEST_HOLD="")


def recovery(stack: Stack, and_then: Callable[[Stack, str], None]) -> float:
    """Seconds of one crash; the machine is deleted afterwards."""
    trace = stack.data / "orders" / "trace"
    trace.unlink(missing_ok=True)
    stack.order(f"before:{STEP}")
    body = {"name": f"b-{secrets.token_hex(4)}", "image": "tiny", "flavor": "nano", "tenant": "demo"}
    accepted = stack.accepted("POST", "/vms", body)
    wait_until(stack.held.exists, 60, "the worker at the step", stack.logs)
    part = part_of(stack, int(begun(trace)[0]))
    killed_at = time.monotonic()
    stack.kill(part)
    stack.held.unlink()
    and_then(stack, part)
    while len(begun(trace)) < 2:
        assert time.monotonic() < killed_at + 120, f"nobody went on with it\n{stack.logs()}"
        time.sleep(0.01)
    took = time.monotonic() - killed_at
    assert stack.finished(accepted["operation"])["status"] == "succeeded"
    stack.delete(accepted["vm"])
    return took


def begun(trace: Path) -> list[str]:
    """The processes that began the step, in order."""
    lines = trace.read_text().splitlines() if trace.exists() else []
    return [line.split()[0] for line in lines if line.endswith(f" before:{STEP}")]


def part_of(stack: Stack, pid: int) -> str:
    """The worker one of whose processes this is: they share its process group."""
    group = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[2])
    return next(name for name, process in stack.parts.items() if process.pid == group)


def spread(times: list[float]) -> dict[str, float]:
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    return {"p50": round(statistics.median(times), 2), "p95": round(p95, 2), "max": round(max(times), 2)}


if __name__ == "__main__":
    main()
