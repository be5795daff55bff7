"""One portal over one host of its own, and everything that can be done to them. What is broken is mended by `heal`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from celery import Celery
from redis import Redis

from portal.env import broker_url
from tests.faults.forked import ForkedStack
from tests.lab.fixtures import LabHost
from tests.service.host import Host
from tests.stack import wait_until

POOL_GIB = 16
TASK = "portal.operations.tasks.run_operation"


class Bench:
    """`host` is the host's own view of itself, `second` that of one to which machines can move."""

    def __init__(self, stack: ForkedStack, lab_host: LabHost, second: LabHost) -> None:
        self.stack = stack
        self.lab_host, self.second_lab_host = lab_host, second
        self.second = Host(second.uri, stack.pool_path, second.netns)
        self.host = Host(stack.libvirt_uri, stack.pool_path, lab_host.netns)
        self.mutation = ""  # of all workers started from now on, see tests.hold
        self.is_suspect = False  # until the cell under way has ended well
        self.known: list[dict[str, str]] = []
        self.vm_id = ""  # kept from cell to cell by the scenarios

    # -- workers -------------------------------------------------------------------------------------------------

    def start_worker(self, part: str = "worker") -> None:
        self.stack.start_part(part, BERTH_TEST_HOLD="", BERTH_TEST_MUTATION=self.mutation)

    def kill_worker(self, part: str = "worker") -> None:
        """With all its processes at once. Where it was held, nobody is any more."""
        self.stack.kill(part)
        self.release()

    def signal_worker(self, number: int) -> None:
        os.killpg(self.stack.parts["worker"].pid, number)

    def pause_worker(self) -> None:
        """Between two writes: SQLite has one lock for all, and who stands still with it lets nobody go on."""

        def is_paused() -> bool:
            self.signal_worker(signal.SIGSTOP)
            if self.stack.database_url or self._can_write():
                return True
            self.signal_worker(signal.SIGCONT)
            return False

        wait_until(is_paused, 30, "a moment in which no worker writes")

    def _can_write(self) -> bool:
        try:
            with closing(sqlite3.connect(self.stack.data / "berth.sqlite3", timeout=2)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True

    def wait_until_held(self, seconds: float = 60) -> None:
        wait_until(self.stack.held.exists, seconds, "a worker at the ordered point", self.stack.logs)

    def release(self) -> None:
        self.stack.held.unlink(missing_ok=True)

    def trace(self) -> list[str]:
        """What workers came by since the last `heal`: "PID MOMENT:STEP"."""
        trace = self.stack.data / "orders" / "trace"
        return trace.read_text().splitlines() if trace.exists() else []

    def start_web(self) -> None:
        self.stack.start_part("web")
        wait_until(self.stack.is_ready, 60, "readyz of the portal", self.stack.logs)

    # -- libvirtd ------------------------------------------------------------------------------------------------

    def signal_libvirtd(self, number: int) -> None:
        os.kill(self.lab_host.libvirtd_pid, number)

    def kill_libvirtd(self) -> None:
        pid = self.lab_host.libvirtd_pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}/exe").exists(), 10, "the end of libvirtd")

    def is_libvirtd_up(self) -> bool:
        done = subprocess.run(["virsh", "-c", self.stack.libvirt_uri, "uri"], capture_output=True, timeout=20)
        return done.returncode == 0

    def state(self, vm_id: str) -> str:
        """Of a machine on whichever host it is; "" where it is on none, and an error where it is on both.

        Nothing is asked of the second one while it is off, as after a failover.
        """
        hosts = (self.host, self.second) if self.second.is_up() else (self.host,)
        found = [host.state(vm_id) for host in hosts if vm_id in host.domains()]
        assert len(found) < 2, f"{vm_id} is on both hosts: {found}"
        return found[0] if found else ""

    # -- broker and database -------------------------------------------------------------------------------------

    def lose_broker(self) -> None:
        """It forgets everything, dies and comes back empty."""
        self.redis().flushall()
        self.stack.kill("redis")
        (self.stack.data / "redis.sock").unlink(missing_ok=True)
        self.start_broker()

    def start_broker(self) -> None:
        self.stack.start_part("redis")
        wait_until((self.stack.data / "redis.sock").exists, 10, "redis")

    def redis(self) -> Redis:
        return Redis(unix_socket_path=f"{self.stack.data}/redis.sock")

    def send(self, *arguments: object) -> None:
        """A message to a worker: what the portal sends has one argument, an id."""
        with Celery(broker=broker_url(f"unix://{self.stack.data}/redis.sock")) as app:
            app.send_task(TASK, args=arguments, retry=False)

    @contextmanager
    def locked_database(self) -> Iterator[None]:
        """SQLite: nobody else can read or write."""
        connection = sqlite3.connect(self.stack.data / "berth.sqlite3", timeout=60, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            connection.close()

    def cut_database(self) -> None:
        """PostgreSQL: every connection of the portal ends at once."""
        with psycopg.connect(self.stack.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    # -- storage -------------------------------------------------------------------------------------------------

    @property
    def filler(self) -> Path:
        """Beside the pool, where it is no volume of it, on the same small file system."""
        return self.stack.pool_path.parent / "filler"

    def fill_pool(self) -> None:
        with self.filler.open("wb") as file:
            for size in (1 << 30, 1 << 24, 1 << 18, 1 << 12):
                with suppress(OSError):  # no space of this size is left
                    while True:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)

    def empty_pool(self) -> None:
        """There is space again; guests that wrote meanwhile are paused by their hosts, and are let go on by hand."""
        self.filler.unlink()
        for host in (self.host, self.second):
            for vm_id in host.domains() if host.is_up() else ():
                if "I/O error" in host.virsh("domstate", vm_id, "--reason"):
                    host.virsh("resume", vm_id)

    # -- the whole -----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Mend whatever a cell left broken, so that the next one starts from a portal that works."""
        self.filler.unlink(missing_ok=True)
        for order in (self.stack.data / "orders").glob("*"):
            order.unlink()
        self.release()
        if "worker" in self.stack.parts:
            self.signal_worker(signal.SIGCONT)
        if not self.is_libvirtd_up():
            self.lab_host.start()
            self.lab_host.start_libvirtd()
            wait_until(self.is_libvirtd_up, 20, "libvirtd")
        if "worker-2" in self.stack.parts:
            self.kill_worker("worker-2")
        if "redis" not in self.stack.parts:
            self.start_broker()
        if "worker" not in self.stack.parts:
            self.start_worker()
        if "beat" not in self.stack.parts:
            self.stack.start_part("beat")
        if "web" not in self.stack.parts:
            self.start_web()
        if self.is_suspect:
            self.known, self.vm_id = self._findings(), ""
        self.is_suspect = True

    def keep_running(self, stop: threading.Event) -> None:
        """What a supervisor does: what ends by itself is started again. What a test kills, it starts itself."""
        while not stop.wait(0.5):
            for part, process in list(self.stack.parts.items()):
                if process.poll() is not None and self.stack.parts.get(part) is process:
                    self.start_worker(part) if part.startswith("worker") else self.stack.start_part(part)

    def audit(self) -> list[dict[str, str]]:
        """What `./run audit --json` finds, but for what an earlier cell has left that broke an invariant."""
        return [finding for finding in self._findings() if finding not in self.known]

    def _findings(self) -> list[dict[str, str]]:
        code, words = self.stack.run_command("audit", "--json")
        assert code in (0, 1), self.stack.logs()
        assert words, self.stack.logs()
        findings = json.loads(words)
        assert bool(findings) == bool(code), "the audit's exit code belies its words"
        return list(findings)

    def shell(self, code: str) -> Any:
        """The JSON that a piece of Python inside the portal prints."""
        return json.loads(self.stack.manage("shell", "-v0", "-c", code))
