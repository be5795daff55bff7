"""Telling open pages that something changed.

A message names topics ("vm:<id>", "vms", "operation:<id>"), never data: the page fetches what it shows by its own
address, where the gate stands. So a lost message costs freshness until the next one, and never shows a wrong thing.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from uuid import UUID

import redis
from django.conf import settings
from django.db import transaction

CHANNEL = "berth:live"
log = logging.getLogger(__name__)


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def tell(tenant_id: UUID | None, *topics: str) -> None:
    """Publish after commit. `tenant_id` None is for the provider's staff only."""
    message = json.dumps({"tenant": str(tenant_id) if tenant_id else None, "topics": topics})
    transaction.on_commit(lambda: _publish(message))


def _publish(message: str) -> None:
    try:
        _client().publish(CHANNEL, message)
    except redis.RedisError as error:  # pages poll while the stream is silent; nothing is lost but a second
        log.warning("live update not sent: %s", error)
