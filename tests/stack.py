"""The whole portal as it runs in production, each part a process of its own, over a libvirt host given by URI.

For tests/service, tests/browser and tests/bench. Nothing here is faked; a part that does not start fails the test.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("web", "worker", "beat", "observer")

ADD_MEMBER = """
from portal.accounts.models import User
from portal.tenancy import services
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
User.objects.filter(username="{username}").exists() or User.objects.create_user("{username}", password="{password}")
tenant = Tenant.objects.unscoped("test").get(slug="{tenant}")
services.set_member(actor=SYSTEM, tenant=tenant, username="{username}", role="{role}")
"""


def wait_until(check: Callable[[], Any], seconds: float, what: str, logs: Callable[[], str] = str) -> Any:
    """The first truthy answer of `check`; AssertionError naming `what`, with the logs of then, when none is in time.

    Asked less and less often: many a check starts a process, and what is waited for needs the processor.
    """
    deadline, pause = time.monotonic() + seconds, 0.05
    while time.monotonic() < deadline:
        if answer := check():
            return answer
        time.sleep(pause)
        pause = min(1.2 * pause, 0.3)
    raise AssertionError(f"not within {seconds} s: {what}\n{logs()}")


def free_port() -> int:
    """Below the range from which outgoing connections take theirs, so that nobody takes it before the server does."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


@cache
def migrated() -> bytes:
    """An empty database in SQLite. Making it takes longer than the rest of a start; each process does it once."""
    with tempfile.TemporaryDirectory() as data:
        manage("migrate", "-v0", BERTH_DATA=data)
        with contextlib.closing(sqlite3.connect(Path(data) / "berth.sqlite3")) as connection:
            return connection.serialize()


@cache
def collected() -> Path:
    """A directory with the static files."""
    data = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, data)
    manage("collectstatic", "-v0", "--noinput", BERTH_DATA=data)
    return Path(data) / "static"


def manage(*arguments: str, **environment: str) -> str:
    """`environment` is added to this process's, over what it may have of a portal of its own."""
    own = {"DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Stack:
    """`data` is its BERTH_DATA; `url` answers after `start()`."""

    data: Path
    libvirt_uri: str
    pool_path: Path
    tiny: Path
    database_url: str = ""
    instance: str = "berth"
    port: int = field(default_factory=free_port)
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "BERTH_DATA": str(self.data),
            "BERTH_PORT": str(self.port),
            "BERTH_LIBVIRT_URI": self.libvirt_uri,
            "BERTH_INSTANCE": self.instance,
            "BERTH_FENCE_AGENTS": str(ROOT / "deploy/lab"),
            "BERTH_POOL_PATH": str(self.pool_path),
            "REDIS_URL": f"unix://{self.data}/redis.sock",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONPATH": str(ROOT),
        }
        if self.database_url:
            own["DATABASE_URL"] = self.database_url
        return {**os.environ, **own}

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        (self.data / "images").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.tiny, self.data / "images" / "tiny.qcow2")
        self.start_part("redis")
        wait_until((self.data / "redis.sock").exists, 10, "redis")
        database = self.data / "berth.sqlite3"
        if self.database_url or database.exists():  # one that was restored, or is older
            self.manage("migrate", "-v0")
        else:
            database.write_bytes(migrated())
        shutil.copytree(collected(), self.data / "static", dirs_exist_ok=True)
        self.manage("seed")
        for part in PARTS:
            self.start_part(part)
        wait_until(self.is_ready, 300, "readyz of the portal", self.logs)
        died = [name for name, process in self.parts.items() if process.poll() is not None]
        assert not died, f"{died} ended at once\n{self.logs()}"

    def start_part(self, part: str, **extra: str) -> None:
        """`extra` goes into the part's environment.

        BERTH_TEST_HOLD lets a worker take orders (tests.hold); MOMENT:STEP is the first one, "" none yet.
        """
        # a test run that is killed takes its portal with it
        command = ["setpriv", "--pdeathsig", "KILL", *self.command(part)]
        if "BERTH_TEST_HOLD" in extra:
            command += ["-I", "tests.hold"]
            if extra["BERTH_TEST_HOLD"]:
                self.order(extra["BERTH_TEST_HOLD"])
        with (self.data / f"{part}.log").open("ab") as log:
            self.parts[part] = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.environment, **extra},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def order(self, point: str, word: str = "hold") -> None:
        """To whichever worker process comes by `point` (MOMENT:STEP) first; it is `held` until that file is gone."""
        orders = self.data / "orders"
        orders.mkdir(exist_ok=True)
        (orders / "new").write_text(word)
        (orders / "new").rename(orders / point)

    def order_again(self, step: str) -> None:
        """Whatever was ordered for the step holds not the first time that it is come by, but the second."""
        for moment in ("before", "during"):
            order = self.data / "orders" / f"{moment}:{step}"
            if order.exists():
                order.unlink()
                self.order(f"again:{step}", moment)

    def slow_copies(self) -> None:
        """Copies of disks take tens of seconds from now on, until all orders are taken back."""
        self.order("slow:copy")

    @property
    def held(self) -> Path:
        return self.data / "held"

    def command(self, part: str) -> list[str]:
        """A second worker is the part "worker-2"."""
        python, data = [sys.executable], str(self.data)
        commands = {
            "redis": ["redis-server", "--port", "0", "--unixsocket", f"{data}/redis.sock", "--save", "", "--dir", data],
            "web": [
                *python,
                "-m",
                "uvicorn",
                "portal.asgi:application",
                "--port",
                str(self.port),
                "--log-level",
                "warning",
            ],
            "worker": [
                *python,
                "-m",
                "celery",
                "-A",
                "portal",
                "worker",
                "--loglevel",
                "warning",
                "--without-mingle",
                "--without-gossip",
                "--hostname",
                f"{part}@%h",
            ],
            "beat": [*python, "-m", "celery", "-A", "portal", "beat", "-s", f"{data}/beat", "--loglevel", "warning"],
            "observer": [*python, "manage.py", "observe"],
        }
        return commands[part.partition("-")[0]]

    def kill(self, part: str, number: int = signal.SIGKILL) -> None:
        """The signal goes to the part and all its children at once."""
        process = self.parts.pop(part)
        os.killpg(process.pid, number)
        process.wait(timeout=30)

    def stop(self) -> None:
        for part in reversed(list(self.parts)):
            if self.parts[part].poll() is None:
                self.kill(part)

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def manage(self, *arguments: str) -> str:
        return manage(*arguments, **self.environment)

    def add_member(self, username: str, password: str, tenant: str, role: str) -> None:
        """A person who can sign in, as a member of the tenant."""
        self.manage(
            "shell", "-v0", "-c", ADD_MEMBER.format(username=username, password=password, tenant=tenant, role=role)
        )

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-2000:]}" for path in sorted(self.data.glob("*.log")))

    # -- use -----------------------------------------------------------------------------------------------------

    @property
    def logins(self) -> dict[str, str]:
        return dict(json.loads((self.data / "first-login.json").read_text()))

    def token(self, user: str = "demo", *arguments: str) -> str:
        key = (user, *arguments)
        if key not in self.tokens:
            self.tokens[key] = self.manage("token", user, *arguments).strip()
        return self.tokens[key]

    def api(self, method: str, path: str, body: Any = None, *, user: str = "demo", **options: Any) -> requests.Response:
        """One API call; `path` with or without the prefix."""
        url = f"{self.url}{path}" if path.startswith("/api/") else f"{self.url}/api/v1{path}"
        headers = {
            "Authorization": f"Bearer {options.pop('token', None) or self.token(user)}",
            **options.pop("headers", {}),
        }
        return requests.request(method, url, json=body, headers=headers, timeout=60, **options)

    def get(self, path: str, **options: Any) -> Any:
        answer = self.api("GET", path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def accepted(self, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """A call that must be accepted: its body, {"operation", "vm"}."""
        answer = self.api(method, path, body, **options)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def finished(self, operation: dict[str, Any], seconds: float = 90, **options: Any) -> dict[str, Any]:
        """The operation when it has ended, however it did."""

        def ended() -> dict[str, Any] | None:
            now = self.get(f"/operations/{operation['id']}?wait=10", **options)
            return now if now["status"] in ("succeeded", "failed", "cancelled") else None

        return dict(wait_until(ended, seconds, f"the end of {operation['kind']}", self.logs))

    def succeeded(self, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """A call whose operation must succeed: the body of its acceptance."""
        accepted = self.accepted(method, path, body, **options)
        operation = self.finished(accepted["operation"], **options)
        assert operation["status"] == "succeeded", operation
        return accepted

    def create(self, name: str | None = None, **body: Any) -> dict[str, Any]:
        """A running VM of the smallest size."""
        wanted = {
            "name": name or f"t-{secrets.token_hex(4)}",
            "image": "tiny",
            "flavor": "nano",
            "tenant": "demo",
            **body,
        }
        vm = self.succeeded("POST", "/vms", wanted)["vm"]
        return dict(self.get(f"/vms/{vm['id']}"))

    def delete(self, vm: dict[str, Any]) -> None:
        self.succeeded("DELETE", f"/vms/{vm['id']}?purge=true")


@contextmanager
def running(stack: Stack) -> Iterator[Stack]:
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
