"""Telling while Redis is away: nobody waits for it twice, and what was not told is owed to everybody."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings

from portal.events import live
from tests.live.site import Site
from tests.stack import wait_until


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A Redis of this test's own, which this process tells."""
    site = Site(tmp_path, secret_key="x")
    site.start_redis()
    monkeypatch.setattr(settings, "REDIS_URL", f"unix://{tmp_path}/redis.sock")
    monkeypatch.setattr(live, "PAY_EVERY_SECONDS", 0.1)
    live._client.cache_clear()
    yield site
    site.stop()
    live._client.cache_clear()


def told(site: Site) -> list[dict[str, Any]]:
    try:
        with site.redis() as client:
            entries: Any = client.xrange(live.STREAM)
    except redis.RedisError:
        return []
    return [json.loads(fields[live.FIELD.encode()]) for _, fields in entries]


EVERYTHING = {"tenant": "*", "topics": ["*"]}


def publish(debt: live._Debt, topic: str) -> float:
    """How many seconds it took."""
    began = time.monotonic()
    debt.publish(live._message(None, topic))
    return time.monotonic() - began


def test_what_can_be_told_is_told(broker: Site) -> None:
    publish(live._Debt(), "vm:1")
    assert told(broker) == [{"tenant": None, "topics": ["vm:1"]}]


def test_a_broker_that_died(broker: Site) -> None:
    debt = live._Debt()
    publish(debt, "vm:1")
    broker.kill_redis()
    assert max(publish(debt, f"vm:{number}") for number in range(20)) < 1
    broker.start_redis()
    wait_until(lambda: told(broker) == [EVERYTHING], 10, "the debt is paid, once")
    publish(debt, "vm:2")
    assert told(broker)[-1]["topics"] == ["vm:2"]


def test_a_broker_that_hangs_is_waited_for_once(broker: Site) -> None:
    debt = live._Debt()
    publish(debt, "vm:1")
    broker.signal_redis(signal.SIGSTOP)
    try:
        waits = [publish(debt, f"vm:{number}") for number in range(20)]
    finally:
        broker.signal_redis(signal.SIGCONT)
    assert sum(waits) < 3
    assert sorted(waits)[-2] < 0.1, "only the first one waits"
    wait_until(lambda: EVERYTHING in told(broker), 10, "the debt is paid")


def test_it_can_be_owed_again(broker: Site) -> None:
    debt = live._Debt()
    for _ in range(3):
        broker.kill_redis()
        publish(debt, "vm:1")
        broker.start_redis()
        wait_until(lambda: EVERYTHING in told(broker), 10, "the debt is paid")
        wait_until(lambda: debt._payer is None, 5, "nobody pays any more")
