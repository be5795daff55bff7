"""The live stream: fast, only one's own, and never the reason why something else is slow."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from portal.events.live import FIELD, STREAM
from tests.live import people
from tests.live.site import Site
from tests.live.sse import Stream
from tests.stack import wait_until


async def nothing(stream: Stream, seconds: float = 1.0) -> None:
    with pytest.raises(TimeoutError):
        await stream.topics(seconds)


async def drained(stream: Stream) -> int:
    """How many more messages there are until none comes for a second."""
    for count in range(1000):
        try:
            await stream.topics(1)
        except TimeoutError:
            return count
    raise AssertionError("it never ends")


def test_a_change_arrives_within_a_second(site: Site) -> None:
    tenant = people.tenant()
    key = people.session(people.member(tenant))

    async def play() -> None:
        stream = await Stream.open(site, key)
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["x-accel-buffering"] == "no"
        assert (await stream.line(2)).startswith("retry:")
        began = time.monotonic()
        site.publish(tenant.pk, "vm:1", "vms")
        assert await stream.topics(2) == ["vm:1", "vms"]
        assert time.monotonic() - began < 1
        await stream.close()

    asyncio.run(play())


def test_a_burst_is_one_message(site: Site) -> None:
    tenant = people.tenant()
    key = people.session(people.member(tenant))

    async def play() -> None:
        stream = await Stream.open(site, key)
        for _ in range(50):
            site.publish(tenant.pk, "vms")
        assert await stream.topics(2) == ["vms"]
        assert await drained(stream) < 5
        await stream.close()

    asyncio.run(play())


def test_a_flood_becomes_everything(site: Site) -> None:
    tenant = people.tenant()
    key = people.session(people.member(tenant))

    async def play() -> None:
        stream = await Stream.open(site, key)
        site.publish(tenant.pk, *(f"vm:{uuid4()}" for _ in range(1000)))
        assert await stream.topics(2) == ["*"]
        await stream.close()

    asyncio.run(play())


def test_others_are_not_heard(site: Site) -> None:
    mine, theirs = people.tenant(), people.tenant()
    key = people.session(people.member(mine))

    async def play() -> None:
        stream = await Stream.open(site, key)
        site.publish(theirs.pk, "vm:theirs")
        site.publish(None, "host:1")
        await nothing(stream)
        site.publish(mine.pk, "vm:mine")
        assert await stream.topics(2) == ["vm:mine"]
        await stream.close()

    asyncio.run(play())


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_staff_hear_everybody(site: Site, role: str) -> None:
    key, tenant = people.session(people.user(role)), people.tenant()

    async def play() -> None:
        stream = await Stream.open(site, key)
        await drained(stream)
        site.publish(tenant.pk, "vm:theirs")
        site.publish(None, "host:1")
        heard: set[str] = set()
        while not {"vm:theirs", "host:1"} <= heard:
            heard |= set(await stream.topics(2))
        await stream.close()

    asyncio.run(play())


def test_a_new_role_is_heard_and_a_lost_one_is_not(site: Site) -> None:
    first, second = people.tenant(), people.tenant()
    person = people.member(first)
    key = people.session(person)

    async def play() -> None:
        stream = await Stream.open(site, key)
        person.memberships.all().update(tenant=second)
        await asyncio.sleep(2.5)
        site.publish(first.pk, "vm:first")
        site.publish(second.pk, "vm:second")
        assert await stream.topics(2) == ["vm:second"]
        await nothing(stream)
        await stream.close()

    asyncio.run(play())


def test_the_stream_of_a_disabled_user_ends(site: Site) -> None:
    person = people.member(people.tenant())
    key = people.session(person)

    async def play() -> None:
        stream = await Stream.open(site, key)
        people.User.objects.filter(pk=person.pk).update(is_active=False)
        assert await stream.ended(6)
        assert (await Stream.open(site, key)).status in (302, 401, 403)

    asyncio.run(play())


def test_nobody_hears_nothing(site: Site) -> None:
    async def play() -> None:
        assert (await Stream.open(site, "")).status in (302, 401)
        assert (await Stream.open(site, "x" * 32)).status in (302, 401)

    asyncio.run(play())


def test_a_stream_outlives_redis(site: Site) -> None:
    tenant = people.tenant()
    key = people.session(people.member(tenant))

    async def play() -> None:
        stream = await Stream.open(site, key)
        site.kill_redis()
        await asyncio.sleep(1)
        assert await stream.topics(3) == ["*"]  # meanwhile it looks for itself
        site.start_redis()
        assert await stream.topics(10) == ["*"]
        await drained(stream)
        site.publish(tenant.pk, "vm:1")
        assert await stream.topics(2) == ["vm:1"]
        await stream.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 99999,
        b'{"tenant": null}',
        b'{"tenant": 1, "topics": 3}',
        b'{"tenant": [], "topics": []}',
        b"\xff",
    ],
)
def test_garbage_from_the_broker_harms_nobody(site: Site, garbage: bytes) -> None:
    tenant = people.tenant()
    key = people.session(people.member(tenant))

    async def play() -> None:
        stream = await Stream.open(site, key)
        with site.redis() as client:
            client.xadd(STREAM, {FIELD: garbage})
            client.xadd(STREAM, {"other": garbage})
        site.publish(tenant.pk, "vm:1")
        assert await stream.topics(2) == ["vm:1"]
        await stream.close()

    asyncio.run(play())


def test_two_hundred_streams(site: Site) -> None:
    """All hear, the rest of the portal answers, and all are forgotten when they leave."""
    tenant = people.tenant()
    key, staff = people.session(people.member(tenant)), people.session(people.user("admin"))

    async def play() -> None:
        streams = [await Stream.open(site, key) for _ in range(200)]
        assert await asyncio.to_thread(site.is_alive)
        site.publish(tenant.pk, "vm:1")
        assert await asyncio.gather(*(stream.topics(5) for stream in streams)) == [["vm:1"]] * 200
        assert await asyncio.to_thread(open_streams, site, staff) >= 200
        await asyncio.gather(*(stream.close() for stream in streams))

    asyncio.run(play())
    wait_until(lambda: open_streams(site, staff) < 10, 10, "the streams are forgotten")


def open_streams(site: Site, staff: str) -> float:
    return site.metric("berth_live_streams", staff)
