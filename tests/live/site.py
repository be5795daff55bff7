"""The portal as processes: Redis on a unix socket, uvicorn on a port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import redis
import requests
from django.conf import settings

from portal.events.live import FIELD, STREAM
from tests.live.machines import OPENED
from tests.stack import ROOT, free_port, wait_until


class Site:
    """`data` is its BERTH_DATA; `application` what uvicorn serves."""

    def __init__(self, data: Path, secret_key: str, application: str = "tests.live.asgi:application") -> None:
        self.data = data
        self.port = free_port()
        self.database = str(data / "berth.sqlite3")
        self._application = application
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            "BERTH_DATA": str(data),
            "BERTH_SECRET_KEY": secret_key,
            "BERTH_PORT": str(self.port),
            "BERTH_CONSOLE_IDLE_SECONDS": "9",
            "DATABASE_URL": f"sqlite:///{self.database}",
            "REDIS_URL": f"unix://{data}/redis.sock",
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        }

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.start_redis()
        command = [sys.executable, "manage.py", "migrate", "-v0"]
        subprocess.run(command, cwd=ROOT, env=self._environment, check=True, timeout=120)
        self._start_web()

    def _start_web(self) -> None:
        web = [sys.executable, "-m", "uvicorn", self._application, "--port", str(self.port), "--log-level", "info"]
        self._start("web", web)
        wait_until(self.is_alive, 30, "the portal answers")

    def start_redis(self) -> None:
        self._start("redis", ["redis-server", "--port", "0", "--unixsocket", f"{self.data}/redis.sock", "--save", ""])
        wait_until((self.data / "redis.sock").exists, 10, "redis listens")

    def kill_redis(self) -> None:
        self._stop("redis", signal.SIGKILL)
        (self.data / "redis.sock").unlink()

    def signal_redis(self, number: signal.Signals) -> None:
        self._parts["redis"].send_signal(number)

    def restart_web(self) -> None:
        """As an upgrade does: no process of it knows anything of before."""
        self._stop("web", signal.SIGKILL)
        self._start_web()

    def stop(self) -> None:
        for part in list(self._parts):
            self._stop(part, signal.SIGKILL)

    def _start(self, part: str, command: list[str]) -> None:
        with (self.data / f"{part}.log").open("ab") as log:
            self._parts[part] = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def _stop(self, part: str, number: int) -> None:
        process = self._parts.pop(part)
        process.send_signal(number)
        process.wait(timeout=30)

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Its file is elsewhere for a while."""
        path, aside = Path(self.database), Path(self.database + ".aside")
        path.rename(aside)
        path.mkdir()  # what cannot be opened as a file
        try:
            yield
        finally:
            path.rmdir()
            aside.rename(path)

    # -- talk ----------------------------------------------------------------------------------------------------

    def is_alive(self) -> bool:
        try:
            return requests.get(f"{self.origin}/healthz", timeout=10).status_code == 200
        except requests.ConnectionError:
            return False

    def publish(self, tenant_id: UUID | None, *topics: str) -> None:
        """The message that portal.events.live sends."""
        message = json.dumps({"tenant": str(tenant_id) if tenant_id else None, "topics": topics})
        with self.redis() as client:
            client.xadd(STREAM, {FIELD: message})

    def metric(self, name: str, session_key: str) -> float:
        """The value of a metric without labels."""
        cookies = {settings.SESSION_COOKIE_NAME: session_key}
        text = requests.get(f"{self.origin}/metrics", cookies=cookies, timeout=10).text
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self._environment["REDIS_URL"])

    def memory_kib(self) -> int:
        """Resident memory of the web process."""
        status = Path(f"/proc/{self._parts['web'].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))

    def opened(self) -> str:
        """The machines' sockets that were ever opened, a line each."""
        path = self.data / OPENED
        return path.read_text() if path.exists() else ""
