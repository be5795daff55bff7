"""Telling open pages that something changed.

A message names topics ("vm:<id>", "vms", "operation:<id>"), never data: the page fetches what it shows by its own
address, where the gate stands. Messages go to a Redis stream of bounded length, so that a page that was away for a
while gets what it missed (`feed` reads it). What a process could not tell it owes: as soon as Redis answers again it
tells everybody to look at everything.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from functools import cache
from uuid import UUID

import redis
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

STREAM = "berth:live"
LONGEST = 10_000
FIELD = "message"
EVERYTHING = EVERYBODY = "*"
PAY_EVERY_SECONDS = 1.0
log = logging.getLogger(__name__)


def tell(tenant_id: UUID | None, *topics: str) -> None:
    """After commit. `tenant_id` None is for the provider's staff only."""
    message = _message(str(tenant_id) if tenant_id else None, *topics)
    transaction.on_commit(lambda: _debt.publish(message))


def _message(tenant: str | None, *topics: str) -> str:
    return json.dumps({"tenant": tenant, "topics": topics})


@cache
def _client() -> redis.Redis:
    """A connection that Redis closed meanwhile is opened anew; one that hangs is given up at once."""
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=retry)


def _append(message: str) -> None:
    _client().xadd(STREAM, {FIELD: message}, maxlen=LONGEST, approximate=True)


class _Debt:
    """While something is owed nobody waits for Redis: what is not told now is in what everybody will be told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_owed = False
        self._payer: threading.Thread | None = None

    def publish(self, message: str) -> None:
        if self._is_owed:
            return
        try:
            _append(message)
        except redis.RedisError as error:
            log.warning("live update not sent: %s", error)
            self._owe()

    def _owe(self) -> None:
        with self._lock:
            self._is_owed = True
            if self._payer is None:
                self._payer = threading.Thread(target=self._pay, name="live-updates", daemon=True)
                self._payer.start()

    def _pay(self) -> None:
        while True:
            time.sleep(PAY_EVERY_SECONDS)
            try:
                _client().ping()
                self._is_owed = False  # first: from here on others speak for themselves
                _append(_message(EVERYBODY, EVERYTHING))
            except redis.RedisError:
                self._is_owed = True
            with self._lock:
                if not self._is_owed:
                    self._payer = None
                    return


_debt = _Debt()
os.register_at_fork(after_in_child=_debt.__init__)  # type: ignore[misc]  # no thread outlives a fork
