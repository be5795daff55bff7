"""One reader of the live stream in each web process, fanned out to the streams that are open in it.

A listener holds a bounded set of topics, not a queue of messages: bursts melt together by themselves, and one that
cannot keep up is told to fetch everything ("*"), which is never wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from portal.events import feed
from portal.events.audience import Audience, audiences_of
from portal.events.live import EVERYTHING

MOST_TOPICS = 200
REVIEW_SECONDS = 30.0
LOOK_SECONDS = 2.0
ANSWER_SECONDS = 2.0
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
log = logging.getLogger(__name__)


class Listener:
    """One open stream: whose it is, and the topics it has not been told of yet."""

    def __init__(self, user_id: UUID, audience: Audience) -> None:
        self.user_id = user_id
        self.audience = audience
        self.is_closed = False
        self.news = asyncio.Event()
        self._topics: set[str] = set()

    def tell(self, topics: Iterable[str]) -> None:
        if EVERYTHING not in self._topics:
            self._topics.update(topics)
        if not self._topics:
            return
        if EVERYTHING in self._topics or len(self._topics) > MOST_TOPICS:
            self._topics = {EVERYTHING}
        self.news.set()

    def take(self) -> list[str]:
        """What there is to tell, in a stable order; empties it."""
        topics, self._topics = sorted(self._topics), set()
        self.news.clear()
        return topics

    def close(self) -> None:
        self.is_closed = True
        self.news.set()


class Hub:
    """All listeners of this process."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self._run = self._last = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def place(self) -> str:
        """Up to where all listeners have been told; "" before the first reading."""
        return f"{self._run}-{self._last}" if self._last else ""

    def start(self) -> None:
        """Read on, once for the running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._settled = loop, asyncio.Event()
            self._side_readers = BlockingConnectionPool.from_url(
                settings.REDIS_URL, max_connections=4, timeout=ANSWER_SECONDS, **_patience(ANSWER_SECONDS)
            )
            self._tasks = [loop.create_task(self._follow()), loop.create_task(self._review())]

    async def stop(self) -> None:
        for listener in self.listeners:
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._loop:
            await self._side_readers.disconnect()
        self._loop, self._tasks = None, []

    async def join(self, user_id: UUID, audience: Audience) -> Listener:
        """A new listener, which hears from now on; the reader is given a moment to begin."""
        self.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._settled.wait()
        listener = Listener(user_id, audience)
        self.listeners.add(listener)
        return listener

    async def catch_up(self, listener: Listener, place: str) -> None:
        """Tell a listener what came after its place (`feed.missed`): exactly that, or everything."""
        try:
            messages = await feed.missed(Redis(connection_pool=self._side_readers), self._run, place)
        except (RedisError, OSError):
            messages = None
        if messages is None:
            listener.tell([EVERYTHING])
        for message in messages or ():
            if listener.audience.hears(message.tenant):
                listener.tell(message.topics)

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)

    # -- from Redis ----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """While Redis is away everybody fetches everything, now and then: nobody else would tell them."""
        failures = 0
        while True:
            try:
                url, patience = settings.REDIS_URL, _patience(LOOK_SECONDS + ANSWER_SECONDS)
                async with Redis.from_url(url, **patience) as client:
                    await self._resume(client)
                    failures = 0
                    await self._read(client)
            except Exception as error:  # whatever it was, the reader must go on
                if not failures:
                    is_usual = isinstance(error, RedisError | OSError)
                    log.warning("live updates wait for Redis: %s", error, exc_info=None if is_usual else error)
                self._settled.set()
                self._tell_all()
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1

    async def _resume(self, client: Redis) -> None:
        run = await feed.run_of(client)
        if run != self._run:
            self._run, self._last = run, ""
        await self._take_news(client)
        self._settled.set()

    async def _read(self, client: Redis) -> None:
        """Waiting only wakes it: what is told is always what follows on the last message, or the gap is noticed."""
        while True:
            await feed.wait(client, self._last, int(LOOK_SECONDS * 1000))
            await self._take_news(client)

    async def _take_news(self, client: Redis) -> None:
        messages = await feed.since(client, self._last) if self._last else None
        if messages is None:
            self._last = await feed.begin(client)
            self._tell_all()
        for message in messages or ():
            self._last = message.id
            for listener in self.listeners:
                if listener.audience.hears(message.tenant):
                    listener.tell(message.topics)

    def _tell_all(self) -> None:
        for listener in self.listeners:
            listener.tell([EVERYTHING])

    # -- rights --------------------------------------------------------------------------------------------------

    async def _review(self) -> None:
        """Roles change while streams are open: look again, for all streams in one go."""
        while True:
            await asyncio.sleep(REVIEW_SECONDS)
            if self.listeners:
                try:
                    self._apply(await asyncio.to_thread(_reviewed, {each.user_id for each in self.listeners}))
                except Exception:  # whatever it was, the next round must come
                    log.exception("rights of open streams not reviewed")

    def _apply(self, audiences: dict[UUID, Audience]) -> None:
        for listener in self.listeners:
            audience = audiences.get(listener.user_id)
            if audience is None:
                listener.close()
            else:
                listener.audience = audience


def _patience(seconds: float) -> dict[str, Any]:
    """How long a connection waits for an answer. Each failure is ours to handle: the client tries nothing again."""
    retry = Retry(NoBackoff(), 0)
    times = {"socket_timeout": seconds, "socket_connect_timeout": 2, "retry": retry}
    return {**times, "decode_responses": True, "encoding_errors": "replace"}


def _reviewed(user_ids: set[UUID]) -> dict[UUID, Audience]:
    try:
        return audiences_of(user_ids)
    finally:
        close_old_connections()


hub = Hub()
