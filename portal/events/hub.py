"""One subscription to the live channel in each web process, fanned out to the streams that are open in it.

A listener holds a bounded set of topics, not a queue of messages: bursts melt together by themselves, and one that
cannot keep up is told to fetch everything ("*"), which is never wrong.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections
from redis.asyncio import Redis
from redis.exceptions import RedisError

from portal.events.audience import Audience, audiences_of
from portal.events.live import CHANNEL

EVERYTHING = "*"
MOST_TOPICS = 200
RECENT_SECONDS = 10.0
REVIEW_SECONDS = 30.0
PING_SECONDS = 10.0
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
        self._recent: deque[tuple[float, str | None, list[str]]] = deque(maxlen=1000)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Subscribe, once for the running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._tasks = [loop.create_task(self._follow()), loop.create_task(self._review())]

    async def stop(self) -> None:
        for listener in self.listeners:
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._loop, self._tasks = None, []

    def join(self, user_id: UUID, audience: Audience) -> Listener:
        """A new listener, told at once of what happened since its page was rendered."""
        self.start()
        listener = Listener(user_id, audience)
        since = time.monotonic() - RECENT_SECONDS
        for at, tenant, topics in self._recent:
            if at >= since and audience.hears(tenant):
                listener.tell(topics)
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self.listeners.discard(listener)

    # -- from Redis ----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Stay subscribed. After a gap nobody knows what was missed, so everybody fetches everything."""
        failures = 0
        while True:
            try:
                client = Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2)
                async with client, client.pubsub() as subscription:
                    await subscription.subscribe(CHANNEL)
                    if failures:
                        self._tell_all()
                    failures = 0
                    await self._take_messages(subscription)
            except (RedisError, OSError) as error:
                if not failures:
                    log.warning("live updates wait for Redis: %s", error)
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1

    async def _take_messages(self, subscription) -> None:  # type: ignore[no-untyped-def]  # redis has no types for it
        """Raises when Redis has not answered even a ping: it may hang, not only die."""
        pinged = False
        while True:
            message = await subscription.get_message(timeout=PING_SECONDS)
            if message is None:
                if pinged:
                    raise OSError("no answer to a ping")
                await subscription.ping()
                pinged = True
                continue
            pinged = False
            if message["type"] == "message":
                self._take(message["data"])

    def _take(self, data: bytes) -> None:
        try:
            message = json.loads(data)
            tenant, topics = message["tenant"], [str(topic) for topic in message["topics"]]
        except (ValueError, TypeError, KeyError):
            log.warning("a message that is not ours on %s", CHANNEL)
            return
        self._recent.append((time.monotonic(), tenant, topics))
        for listener in self.listeners:
            if listener.audience.hears(tenant):
                listener.tell(topics)

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


def _reviewed(user_ids: set[UUID]) -> dict[UUID, Audience]:
    try:
        return audiences_of(user_ids)
    finally:
        close_old_connections()


hub = Hub()
