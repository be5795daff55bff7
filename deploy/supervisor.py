"""Runs Berth's processes on one machine: starts them in order, restarts what dies, stops them in reverse.

Usage: supervisor.py start|stop|status|run. Settings come from the environment, as `./run` exports them:
BERTH_DATA, BERTH_HOST, BERTH_PORT, and BERTH_OWN_REDIS=1 where the broker is ours to run.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("BERTH_DATA", ROOT / "var")).resolve()
PID_FILE = DATA / "supervisor.pid"
STATUS_FILE = DATA / "supervisor.json"
LOG_DIR = DATA / "log"
LOG_LIMIT_BYTES = 10 * 1024 * 1024
TICK_SECONDS = 0.5
STEADY_SECONDS = 60
LONGEST_PAUSE_SECONDS = 30
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Program:
    """A command to keep running; `stop_seconds` is how long it may take to end before it is killed."""

    name: str
    command: list[str]
    stop_seconds: float = 5


@dataclass
class Child:
    """What became of a program. Times are seconds since the epoch; `pause` is the wait before the next start."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0
    start_after: float = 0
    pause: float = 0
    restarts: int = 0

    def start(self) -> None:
        with (LOG_DIR / f"{self.program.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.program.command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (the supervisor has one thread)
            )
        self.started_at = time.time()

    def tend(self) -> bool:
        """Notice an end, start again when the pause is over; True where anything changed."""
        if self.process is not None:
            if (code := self.process.poll()) is None:
                return False
            self.bury(code)
            return True
        if time.time() < self.start_after:
            return False
        self.restarts += 1
        self.start()
        return True

    def bury(self, code: int) -> None:
        """Its own children end with it; then a pause, longer each time, short again after a steady run."""
        assert self.process is not None
        kill_group(self.process.pid)
        steady = time.time() - self.started_at > STEADY_SECONDS
        self.pause = 1 if steady else min(max(self.pause * 2, 1), LONGEST_PAUSE_SECONDS)
        self.start_after = time.time() + self.pause
        self.process = None
        print(f"{self.program.name} ended with status {code}; starting it again in {self.pause:.0f} s", flush=True)

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.program.stop_seconds)
        kill_group(self.process.pid)
        self.process.wait()
        self.process = None

    def describe(self) -> dict[str, object]:
        pid = self.process.pid if self.process else None
        state = "running" if pid else "waiting"
        return {"pid": pid, "state": state, "since": self.started_at, "restarts": self.restarts}


@dataclass
class Supervisor:
    """Runs until told to stop by SIGTERM or SIGINT."""

    children: list[Child]
    stopping: bool = False
    started_at: float = field(default_factory=time.time)

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        for child in self.children:
            child.start()
            if child.program.name == "redis":
                wait_until((DATA / "redis.sock").exists, 5)
        self.write_status()
        while not self.stopping:
            time.sleep(TICK_SECONDS)
            if any([child.tend() for child in self.children]):  # a list, so that each one is tended
                self.write_status()
            cap_logs()
        for child in reversed(self.children):
            child.stop()
        STATUS_FILE.unlink(missing_ok=True)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def write_status(self) -> None:
        programs = {child.program.name: child.describe() for child in self.children}
        partial = STATUS_FILE.with_suffix(".partial")
        partial.write_text(json.dumps({"pid": os.getpid(), "since": self.started_at, "programs": programs}))
        partial.replace(STATUS_FILE)


# Streams never end by themselves; a console's messages are small, and pixels do not compress twice.
WEB_LIMITS = [
    *("--no-server-header", "--log-level", "warning", "--timeout-graceful-shutdown", "3"),
    *("--ws-max-size", "65536", "--ws-per-message-deflate", "false"),
]


# The database says who works on what; workers need not know each other.
WORKER_OPTIONS = ["--pool", "prefork", "--without-mingle", "--without-gossip"]


def programs() -> list[Program]:
    """What a machine runs, in the order of starting."""
    binaries = Path(sys.executable).parent
    celery = [str(binaries / "celery"), "-A", "portal"]
    manage = [sys.executable, str(ROOT / "manage.py")]
    host, port = os.environ.get("BERTH_HOST", "127.0.0.1"), os.environ.get("BERTH_PORT", "8000")
    web = [str(binaries / "uvicorn"), "portal.asgi:application", "--host", host, "--port", port]
    chosen = [
        Program("web", [*web, *WEB_LIMITS]),
        Program("worker", [*celery, "worker", *WORKER_OPTIONS], 15),
        Program("beat", [*celery, "beat", "-s", str(DATA / "beat-schedule"), "--pidfile="]),
        Program("observer", [*manage, "observe"]),
    ]
    return [Program("redis", redis_command()), *chosen] if os.environ.get("BERTH_OWN_REDIS") else chosen


def redis_command() -> list[str]:
    """Redis or Valkey on a socket of its own. It keeps nothing on disk: the database holds the truth."""
    server = shutil.which("redis-server") or shutil.which("valkey-server") or "redis-server"
    options = {"port": "0", "unixsocket": str(DATA / "redis.sock"), "unixsocketperm": "600", "dir": str(DATA)}
    options |= {"appendonly": "no", "save": "", "maxmemory-policy": "noeviction", "daemonize": "no"}
    return [server, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def cap_logs() -> None:
    """One older part of each log is kept. Children append, so that a log can be cut under them."""
    for log in LOG_DIR.glob("*.log"):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def exclusively() -> Iterator[bool]:
    """Hold the pid file's lock; False where a live supervisor holds it. It goes with the process, however that ends."""
    DATA.mkdir(mode=0o700, parents=True, exist_ok=True)
    with PID_FILE.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        write_pid(file)
        yield True
        file.truncate(0)


def write_pid(file: IO[str]) -> None:
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()


def running_pid() -> int | None:
    """The live supervisor's process id: only the holder of the lock counts, whatever the file says."""
    if not PID_FILE.exists():
        return None
    with PID_FILE.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None


def sweep_leftovers() -> None:
    """End what a supervisor that was killed left behind: the groups it led, where they still run from here."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        left = json.loads(STATUS_FILE.read_text())["programs"].values()
        for pid in [program["pid"] for program in left if program["pid"]]:
            if any(group == pid and cwd == ROOT for group, cwd in process_groups()):
                kill_group(pid)


def process_groups() -> Iterator[tuple[int, Path]]:
    """(process group, working directory) of all processes that we may look into."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            yield int(after_name[2]), (entry / "cwd").readlink()


def run() -> int:
    LOG_DIR.mkdir(parents=True, exist_ok=True)
    with exclusively() as ours:
        if not ours:
            print("a supervisor runs already", file=sys.stderr)
            return 1
        sweep_leftovers()
        Supervisor([Child(program) for program in programs()]).run()
    return 0


def start() -> int:
    """Detach a supervisor; harmless where one runs."""
    if running_pid():
        return 0
    before = status_written_at()
    LOG_DIR.mkdir(parents=True, exist_ok=True)
    with (LOG_DIR / "supervisor.log").open("ab") as log:
        command = [sys.executable, str(Path(sys.argv[0]).resolve()), "run"]
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    return 0 if wait_until(lambda: status_written_at() != before, 10) and running_pid() else 1


def status_written_at() -> int:
    return STATUS_FILE.stat().st_mtime_ns if STATUS_FILE.exists() else 0


def stop() -> int:
    if pid := running_pid():
        os.kill(pid, signal.SIGTERM)
        return 0 if wait_until(lambda: running_pid() is None, 45) else 1
    sweep_leftovers()
    return 0


def status() -> int:
    """One line a program; exit code 1 where not everything runs."""
    if not running_pid():
        print("Berth is stopped.")
        return 1
    programs_now = json.loads(STATUS_FILE.read_text())["programs"]
    for name, program in programs_now.items():
        minutes = (time.time() - program["since"]) / 60
        words = f"{name:<10}{program['state']:<10}pid {program['pid'] or '-':<9}for {minutes:.0f} min"
        print(f"{words}, restarts: {program['restarts']}")
    return 0 if all(program["state"] == "running" for program in programs_now.values()) else 1


COMMANDS = {"run": run, "start": start, "stop": stop, "status": status}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(COMMANDS)}")
    sys.exit(COMMANDS[sys.argv[1]]())
