"""The cache that may be away."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.core import cache as module
from portal.core.cache import ForgivingRedisCache


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    monkeypatch.setattr(ForgivingRedisCache, "_away_until", 0.0)
    socket = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not socket.exists():
        assert process.poll() is None
        time.sleep(0.02)
    yield process
    os.kill(process.pid, signal.SIGCONT)
    process.kill()
    process.wait()


@pytest.fixture
def cache(server: subprocess.Popen[bytes], tmp_path: Path) -> ForgivingRedisCache:
    options = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    return ForgivingRedisCache(f"unix://{tmp_path}/redis.sock", {"OPTIONS": options})


def test_it_is_a_cache(cache: ForgivingRedisCache) -> None:
    assert cache.add("a", 1)
    assert not cache.add("a", 2)
    cache.set("a", 3)
    assert cache.get("a") == 3
    cache.delete("a")
    assert cache.get("a", "gone") == "gone"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["died", "hangs"])
def test_one_that_is_away_costs_one_wait_and_no_error(
    cache: ForgivingRedisCache, server: subprocess.Popen[bytes], how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.set("a", 1)
    server.send_signal(how)
    time.sleep(0.1)
    assert cache.get("a", "missed") == "missed"
    asked: list[str] = []
    monkeypatch.setattr(module.RedisCache, "add", lambda *args, **kwargs: asked.append("add"))
    assert cache.add("a", 1) is True
    assert asked == [], "it is left alone for a while"
    monkeypatch.setattr(ForgivingRedisCache, "_away_until", 0.0)
    cache.add("a", 1)
    assert asked == ["add"], "and asked again after that"
