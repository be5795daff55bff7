"""A Redis of the test process's own, on a socket that nobody else knows."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from django.conf import settings

from portal.env import broker_url


class PrivateRedis:
    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="berth-redis-"))
        self._socket = self._directory / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir"]
        self._process = subprocess.Popen([*command, str(self._directory)], stdout=subprocess.DEVNULL)
        self._wait()

    def use(self) -> None:
        """Before anything has connected: cache, live updates and Celery go there."""
        url = f"unix://{self._socket}"
        settings.REDIS_URL = settings.CACHES["default"]["LOCATION"] = url
        settings.CELERY_BROKER_URL = broker_url(url)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("redis-server did not start; the tests need it")
            time.sleep(0.02)
