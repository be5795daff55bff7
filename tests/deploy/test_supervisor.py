"""The supervisor with small programs of its own: restarts, one copy only, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
# Each program is a shell with a child of its own, as Celery's worker is; `fragile` ends at once.
SCRIPT = f"""
import sys
sys.path.insert(0, {str(DEPLOY)!r})
import supervisor
from supervisor import Program
supervisor.programs = lambda: [
    Program("steady", ["sh", "-c", "sleep 1000 & echo started; wait"]),
    Program("stubborn", ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], stop_seconds=0.5),
    Program("fragile", ["sh", "-c", "echo tried; exit 3"]),
]
sys.exit(supervisor.COMMANDS[sys.argv[1]]())
"""


class Supervised:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.script = data / "supervise.py"
        self.script.write_text(SCRIPT)

    def do(self, command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "BERTH_DATA": str(self.data)}
        arguments = [sys.executable, self.script, command]
        return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)

    @property
    def pid(self) -> int:
        return int((self.data / "supervisor.pid").read_text())

    def programs(self) -> dict[str, dict[str, object]]:
        programs: dict[str, dict[str, object]] = json.loads((self.data / "supervisor.json").read_text())["programs"]
        return programs

    def group_of(self, name: str) -> int:
        return int(str(self.programs()[name]["pid"]))


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    it = Supervised(tmp_path)
    yield it
    it.do("stop")


def alive(group: int) -> bool:
    """Whether a process group still has a member that is not a zombie."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_starts_once_and_stops_whole_groups(supervised: Supervised) -> None:
    assert supervised.do("start").returncode == 0
    first = supervised.pid
    assert supervised.do("start").returncode == 0
    assert supervised.pid == first
    groups = [supervised.group_of("steady"), supervised.group_of("stubborn")]
    assert all(alive(group) for group in groups)
    assert supervised.do("stop").returncode == 0
    assert not any(alive(group) for group in groups)
    assert supervised.do("status").stdout == "Berth is stopped.\n"


def test_restarts_what_is_killed(supervised: Supervised) -> None:
    supervised.do("start")
    before = supervised.group_of("steady")
    os.kill(before, signal.SIGKILL)
    until(lambda: supervised.programs()["steady"]["pid"] not in (before, None))
    assert supervised.programs()["steady"]["restarts"] == 1
    assert not alive(before), "the children of the dead go with it"


def test_waits_longer_each_time_and_says_so(supervised: Supervised) -> None:
    supervised.do("start")
    until(lambda: "again in 4 s" in (supervised.data / "log/supervisor.log").read_text())
    until(lambda: supervised.programs()["fragile"]["state"] == "waiting")
    status = supervised.do("status")
    assert status.returncode == 1
    assert "waiting" in status.stdout
    log = (supervised.data / "log/supervisor.log").read_text()
    assert "fragile ended with status 3; starting it again in 1 s" in log
    assert "fragile ended with status 3; starting it again in 2 s" in log
    assert (supervised.data / "log/fragile.log").read_text().count("tried") == 3


def test_a_killed_supervisor_takes_its_programs_along(supervised: Supervised) -> None:
    supervised.do("start")
    steady, stubborn = supervised.group_of("steady"), supervised.group_of("stubborn")
    os.kill(supervised.pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{stubborn}").exists() and not Path(f"/proc/{steady}").exists())
    assert supervised.do("start").returncode == 0
    assert not alive(steady), "what the dead left behind is swept up at the next start"
    assert supervised.group_of("steady") != steady


def test_a_stale_pid_file_names_nobody(supervised: Supervised) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (supervised.data / "supervisor.pid").write_text(f"{stranger.pid}\n")
        assert supervised.do("stop").returncode == 0
        assert stranger.poll() is None
        assert supervised.do("start").returncode == 0
        assert supervised.pid != stranger.pid
        stranger.kill()


def test_logs_are_capped(supervised: Supervised) -> None:
    (supervised.data / "log").mkdir()
    log = supervised.data / "log/steady.log"
    log.write_bytes(b"x" * (10 * 1024 * 1024 + 1))
    supervised.do("start")
    until(lambda: log.stat().st_size < 1000)
    assert (supervised.data / "log/steady.log.1").stat().st_size > 10 * 1024 * 1024
