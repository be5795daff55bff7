"""Something breaks every few seconds."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.bench import Bench
from tests.stack import Stack

EVERY_SECONDS = 20.0


@dataclass
class Blow:
    """What was broken, and when (time.monotonic)."""

    name: str
    at: float


@dataclass
class Chaos(threading.Thread):
    bench: Bench
    seed: int
    stop_asked: threading.Event
    blows: list[Blow] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(name="chaos", daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        dice = random.Random(self.seed)
        deeds: dict[str, Callable[[], None]] = {
            "worker killed": self._kill_worker,
            "libvirtd killed": self._kill_libvirtd,
            "broker lost": self.bench.lose_broker,
        }
        while not self.stop_asked.wait(EVERY_SECONDS):
            name = dice.choice(sorted(deeds))
            self.blows.append(Blow(name, time.monotonic()))
            deeds[name]()

    def _kill_worker(self) -> None:
        """The next one starts from nothing, as a supervisor starts it."""
        self.bench.stack.kill("worker")
        Stack.start_part(self.bench.stack, "worker")

    def _kill_libvirtd(self) -> None:
        self.bench.kill_libvirtd()
        self.bench.lab_host.start_libvirtd()
