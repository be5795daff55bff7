"""Whoever comes back is told what they missed: exactly that, or to look at everything; never less."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

import pytest
from redis.exceptions import RedisError

from portal.events import hub
from portal.events.live import FIELD, STREAM
from tests.live import people
from tests.live.site import Site
from tests.live.sse import Stream

EVERYTHING = "*"


class Reader:
    """A browser whose stream is cut again and again. `known` is what it was told of, or saw when told "*"."""

    def __init__(self, site: Site, session_key: str, tenant_id: UUID) -> None:
        self._site, self._key, self._tenant = site, session_key, tenant_id
        self.told: list[str] = []
        self.known: set[str] = set()
        self.happened: list[str] = []
        self._place = ""
        self._is_over = False

    async def publish(self, seconds: float) -> None:
        """A topic of its own about each 5 ms; one that Redis did not take did not happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            topic = f"vm:{len(self.happened)}"
            with suppress(RedisError):
                await asyncio.to_thread(self._site.publish, self._tenant, topic)
                self.happened.append(topic)
            await asyncio.sleep(0.005)

    async def read(self, cut_after: Callable[[], float]) -> None:
        while not self._is_over:
            stream = await Stream.open(self._site, self._key, **self._last())
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(cut_after()):
                    while True:
                        self._hear(await stream.message(20))
                        self._place = stream.place
            self._place = stream.place or self._place
            await stream.close()

    def _last(self) -> dict[str, str]:
        return {"Last_Event_ID": self._place} if self._place else {}

    def _hear(self, topics: list[str]) -> None:
        self.told += topics
        self.known.update(self.happened if EVERYTHING in topics else topics)

    async def run(self, seconds: float, cut_after: Callable[[], float], *faults: Awaitable[None]) -> None:
        """Publish and read, with what goes wrong meanwhile; then long enough to hear the rest."""
        reading = asyncio.create_task(self.read(cut_after))
        await asyncio.sleep(0.5)
        await asyncio.gather(self.publish(seconds), *faults)
        end = time.monotonic() + 20
        while set(self.happened) - self.known and time.monotonic() < end:
            await asyncio.sleep(0.1)
        self._is_over = True
        await reading


@pytest.fixture
def reader(site: Site) -> Reader:
    tenant = people.tenant()
    return Reader(site, people.session(people.member(tenant)), tenant.pk)


def test_a_stream_that_is_cut_at_random_misses_nothing(reader: Reader) -> None:
    """And is never told to look at everything instead."""
    dice = random.Random(7)
    asyncio.run(reader.run(8, lambda: dice.uniform(0.02, 0.8)))
    assert len(reader.happened) > 200
    assert set(reader.told) == set(reader.happened)


@pytest.mark.parametrize("seconds", [0.3, 3], ids=["often cut", "rarely cut"])
def test_a_flush_is_noticed(site: Site, reader: Reader, seconds: float) -> None:
    async def flush() -> None:
        for _ in range(4):
            await asyncio.sleep(0.9)
            with site.redis() as client:
                client.flushall()

    asyncio.run(reader.run(5, lambda: seconds, flush()))
    assert reader.known >= set(reader.happened)
    assert EVERYTHING in reader.told


def test_a_restart_of_redis_is_noticed(site: Site, reader: Reader) -> None:
    async def restart() -> None:
        for _ in range(2):
            await asyncio.sleep(1)
            await asyncio.to_thread(site.kill_redis)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(site.start_redis)

    asyncio.run(reader.run(5, lambda: 0.7, restart()))
    assert reader.known >= set(reader.happened)
    assert EVERYTHING in reader.told


def test_a_redis_that_hangs_is_waited_for(site: Site, reader: Reader) -> None:
    async def hang() -> None:
        await asyncio.sleep(1)
        site.signal_redis(signal.SIGSTOP)
        try:
            await asyncio.sleep(6)
            began = time.monotonic()
            assert await asyncio.to_thread(site.is_alive)
            assert time.monotonic() - began < 1
        finally:
            site.signal_redis(signal.SIGCONT)

    asyncio.run(reader.run(9, lambda: 1.1, hang()))
    assert reader.known >= set(reader.happened)


def test_a_new_web_process_knows_what_was_missed(site: Site, reader: Reader) -> None:
    async def play() -> None:
        stream = await Stream.open(site, reader._key)
        await stream.message(5)
        await stream.close()
        site.publish(reader._tenant, "vm:1")
        await asyncio.to_thread(site.restart_web)
        stream = await Stream.open(site, reader._key, Last_Event_ID=stream.place)
        assert await stream.topics(5) == ["vm:1"]
        await stream.close()

    asyncio.run(play())


def test_rights_hold_for_what_is_told_again(site: Site) -> None:
    mine, theirs = people.tenant(), people.tenant()
    person = people.member(mine)
    key = people.session(person)

    async def play() -> None:
        stream = await Stream.open(site, key)
        await stream.message(5)
        await stream.close()
        site.publish(theirs.pk, "vm:theirs")
        site.publish(None, "host:1")
        site.publish(mine.pk, "vm:mine")
        again = await Stream.open(site, key, Last_Event_ID=stream.place)
        assert await again.topics(2) == ["vm:mine"]
        await again.close()
        person.memberships.all().delete()
        without = await Stream.open(site, key, Last_Event_ID=stream.place)
        assert await without.message(2) == []
        await without.close()

    asyncio.run(play())


def test_what_was_trimmed_away_is_everything(site: Site, reader: Reader) -> None:
    async def play() -> None:
        stream = await Stream.open(site, reader._key)
        await stream.message(5)
        await stream.close()
        site.publish(reader._tenant, "vm:1")
        with site.redis() as client:
            client.xadd(STREAM, {FIELD: ""}, maxlen=1, approximate=False)
        again = await Stream.open(site, reader._key, Last_Event_ID=stream.place)
        assert await again.topics(2) == [EVERYTHING]
        await again.close()

    asyncio.run(play())


def test_a_page_that_loaded_slowly(site: Site, reader: Reader) -> None:
    """It says when its making began; where the stream is younger than that, everything may have changed."""

    async def play() -> None:
        site.publish(reader._tenant, "vm:before")
        await asyncio.sleep(0.05)
        began = int(time.time() * 1000)
        site.publish(reader._tenant, "vm:1")
        for since, told in ((str(began), ["vm:1"]), (str(began - 10**9), [EVERYTHING])):
            stream = await Stream.open(site, reader._key, since=since)
            assert await stream.topics(2) == told
            await stream.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    "forged",
    [
        *("0", "live", "999999999", "../../etc", "x" * 4000, "-", "$", "*", "+", "0-0", "%00", "' OR 1=1"),
        *("{run}-0-0", "{run}-9999999999999-0", "{run}-99999999999999999999-99999999999999999999", "{run}-0-0\t"),
        *("000000000000-{id}", "{run}-{id}-{id}", "{run}--1-0"),
    ],
)
def test_a_place_that_nobody_was_given_is_everything(site: Site, forged: str) -> None:
    """And one's own only, whatever it says."""
    mine, theirs = people.tenant(), people.tenant()
    key = people.session(people.member(mine))

    async def play() -> None:
        first = await Stream.open(site, key)
        await first.message(5)
        await first.close()
        run, _, id = first.place.partition("-")
        site.publish(theirs.pk, "vm:theirs")
        stream = await Stream.open(site, key, Last_Event_ID=forged.format(run=run, id=id))
        assert stream.status == 200
        assert await stream.topics(2) == [EVERYTHING]
        site.publish(theirs.pk, "vm:theirs")
        site.publish(mine.pk, "vm:mine")
        assert await stream.topics(2) == ["vm:mine"]
        await stream.close()

    asyncio.run(play())


def test_a_quiet_stream_says_where_it_is(site: Site) -> None:
    """So that what was trimmed away while nothing happened to oneself is no gap."""
    mine, theirs = people.tenant(), people.tenant()
    key = people.session(people.member(mine))

    async def play() -> None:
        stream = await Stream.open(site, key)
        await stream.message(5)
        before = stream.place
        site.publish(theirs.pk, "vm:theirs")
        await asyncio.sleep(hub.LOOK_SECONDS / 10)
        assert await stream.message(3) == []
        assert stream.place > before
        await stream.close()

    asyncio.run(play())
