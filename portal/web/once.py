"""A form that is sent twice acts once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import UUID

from django.core.cache import cache
from redis.exceptions import RedisError

REMEMBERED_SECONDS = 3600
_UNDER_WAY = "under way"
log = logging.getLogger(__name__)


def once(user_id: UUID, key: UUID, act: Callable[[], str], meanwhile: str) -> str:
    """The address that `act` returned, acting only at the first call with this key.

    A second call answers with the first one's address, or `meanwhile` while that is not known yet. A refusal frees
    the key, so that the corrected form can be sent. Where the cache is away the form acts each time.
    """
    name = f"form:{user_id}:{key}"
    try:
        is_first = cache.add(name, _UNDER_WAY, REMEMBERED_SECONDS)
        if not is_first:
            answer = cache.get(name, _UNDER_WAY)
            return meanwhile if answer == _UNDER_WAY else str(answer)
    except RedisError as error:
        log.warning("a form's key was not checked: %s", error)
        return act()
    return _act_and_remember(name, act)


def _act_and_remember(name: str, act: Callable[[], str]) -> str:
    try:
        address = act()
    except BaseException:
        _quietly(lambda: cache.delete(name))
        raise
    _quietly(lambda: cache.set(name, address, REMEMBERED_SECONDS))
    return address


def _quietly(do: Callable[[], object]) -> None:
    try:
        do()
    except RedisError as error:
        log.warning("a form's key was not remembered: %s", error)
