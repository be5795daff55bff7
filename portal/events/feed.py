"""Reading the stream of live updates without a gap.

A *place* is where a reader stands: `<run>-<id>`, the last message it knows, in one run of the Redis server. Trimming
takes the oldest messages first, so while that message is still in the stream all that came after it are as well; where
it is not, or the server was restarted, nobody can know what was missed.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from portal.events.live import FIELD, LONGEST, STREAM

MOST_MISSED = 1000
_PLACE = re.compile(r"([0-9a-f]{8,40})-([0-9]{1,20}-[0-9]{1,20})")
_MILLISECONDS = re.compile(r"[0-9]{13}")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """`tenant` None is for the provider's staff, "*" for everybody."""

    id: str
    tenant: str | None
    topics: tuple[str, ...]


async def run_of(client: Redis) -> str:
    """What tells one run of the server from all others."""
    return str((await client.info("server"))["run_id"])[:12]


async def begin(client: Redis) -> str:
    """The id of a new message that says nothing, to read on from."""
    return str(await client.xadd(STREAM, {FIELD: ""}, maxlen=LONGEST, approximate=True))


async def wait(client: Redis, after: str, milliseconds: int) -> None:
    """Until there may be something after that id, or the time is over."""
    await client.xread({STREAM: after}, count=1, block=milliseconds)


async def since(client: Redis, id: str, most: int = MOST_MISSED) -> list[Message] | None:
    """At most that many messages after `id`, oldest first; None where the stream does not reach back to it."""
    found = await _range(client, id, most + 1)
    return found[1:] if found and found[0].id == id else None


async def missed(client: Redis, run: str, place: str) -> list[Message] | None:
    """All messages after a place, or after a time in milliseconds since 1970; None where that cannot be known."""
    entries = None
    if found := _PLACE.fullmatch(place):
        entries = await since(client, found[2]) if found[1] == run else None
    elif _MILLISECONDS.fullmatch(place):
        entries = await _since_time(client, int(place))
    return entries if entries is not None and len(entries) < MOST_MISSED else None


async def _since_time(client: Redis, milliseconds: int) -> list[Message] | None:
    oldest = await _range(client, "-", 1)
    if not oldest or int(oldest[0].id.partition("-")[0]) > milliseconds:
        return None
    return await _range(client, str(milliseconds), MOST_MISSED)


async def _range(client: Redis, first: str, most: int) -> list[Message]:
    entries: Any = await client.xrange(STREAM, min=first, count=most)
    return [_message(id, fields.get(FIELD, "{")) for id, fields in entries]


def _message(id: str, text: str) -> Message:
    try:
        content: Any = json.loads(text) if text else {"tenant": None, "topics": []}
        tenant, topics = content["tenant"], tuple(str(topic) for topic in content["topics"])
        if tenant is None or isinstance(tenant, str):
            return Message(id, tenant, topics)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    log.warning("a message that is not ours in %s", STREAM)
    return Message(id, None, ())
