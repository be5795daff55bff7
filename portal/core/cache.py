"""A cache that may be away: what it cannot answer is a miss, and what it cannot keep is forgotten.

Nothing in Berth relies on the cache to be right: it serves rate limits and hints. So a broker that died or hangs must
cost a page neither an error nor its time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

LEFT_ALONE_SECONDS = 5.0
log = logging.getLogger(__name__)


class ForgivingRedisCache(RedisCache):
    """After a failure the server is left alone for some seconds, so that only one call in that time waits for it."""

    # of the process: Django makes a cache object for each thread and request
    _away_until = 0.0

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(lambda: super(ForgivingRedisCache, self).add(*args, **kwargs), True)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self._ask(lambda: super(ForgivingRedisCache, self).get(key, default, version), default)

    def set(self, *args: Any, **kwargs: Any) -> None:
        self._ask(lambda: super(ForgivingRedisCache, self).set(*args, **kwargs), None)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask(lambda: super(ForgivingRedisCache, self).delete(*args, **kwargs), False)

    def _ask(self, call: Callable[[], Any], otherwise: Any) -> Any:
        if time.monotonic() < self._away_until:
            return otherwise
        try:
            return call()
        except RedisError as error:
            ForgivingRedisCache._away_until = time.monotonic() + LEFT_ALONE_SECONDS
            log.warning("the cache is away: %s", error)
            return otherwise
