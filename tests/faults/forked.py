"""A stack whose workers and commands are forked from its nursery."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.stack import ROOT, Stack, wait_until


@dataclass
class Forked:
    """As much of subprocess.Popen as a stack needs; its parent, the nursery, reaps it."""

    pid: int

    def poll(self) -> int | None:
        """None while it lives; how it ended is not known."""
        with suppress(OSError):
            if Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                return None
        return 0

    def wait(self, timeout: float) -> int:
        wait_until(lambda: self.poll() is not None, timeout, f"the end of process {self.pid}")
        return 0


@dataclass
class ForkedStack(Stack):
    nursery: subprocess.Popen[str] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start_part(self, part: str, **extra: str) -> None:
        if not part.startswith("worker"):
            super().start_part(part, **extra)
            return
        arguments = self.command(part)
        arguments = arguments[arguments.index("worker") :]
        if "BERTH_TEST_HOLD" in extra:
            (self.data / "orders").mkdir(exist_ok=True)
            arguments += ["-I", "tests.hold"]
        log = self.data / f"{part}.log"
        pid = self._ask(arguments, log, log, extra)
        self.parts[part] = cast("subprocess.Popen[bytes]", Forked(pid))

    def manage(self, *arguments: str) -> str:
        code, words = self.run_command(*arguments)
        assert code == 0, self.logs()
        return words

    def run_command(self, *arguments: str) -> tuple[int, str]:
        """The exit code of a manage.py command, and what it printed; what it logged is in command.log."""
        output = self.data / "command.out"
        output.unlink(missing_ok=True)
        return self._ask(list(arguments), output, self.data / "command.log", {}, wait=True), output.read_text()

    def stop(self) -> None:
        super().stop()
        if self.nursery is not None:
            os.killpg(self.nursery.pid, signal.SIGKILL)
            self.nursery.wait()

    def _ask(
        self, arguments: list[str], output: Path, log: Path, environment: dict[str, str], wait: bool = False
    ) -> int:
        nursery = self._nursery()
        assert nursery.stdin is not None
        paths = {"output": str(output), "log": str(log)}
        order = {"arguments": arguments, **paths, "environment": environment, "wait": wait}
        with self.lock:
            nursery.stdin.write(json.dumps(order) + "\n")
            nursery.stdin.flush()
            return int(_answer(nursery))

    def _nursery(self) -> subprocess.Popen[str]:
        if self.nursery is None:
            self.nursery = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.faults.nursery"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            assert _answer(self.nursery) == "ready"
        return self.nursery


def _answer(nursery: subprocess.Popen[str]) -> Any:
    assert nursery.stdout is not None
    return json.loads(nursery.stdout.readline())
