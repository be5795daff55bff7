"""Whether this installation can work, and its numbers; the apps add what they know of at start."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
from django.conf import settings
from django.db import connection
from prometheus_client.core import Metric

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `ok` False makes the whole installation not ready; `facts` are for its staff."""

    ok: bool
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], Finding]
Collector = Callable[[], Iterable[Metric]]
checks: dict[str, Check] = {}
collectors: dict[str, Collector] = {}


def readiness() -> dict[str, Finding]:
    """All findings by the name of their check; a check that fails itself is a finding too."""
    return {name: _run(name, check) for name, check in checks.items()}


def _run(name: str, check: Check) -> Finding:
    try:
        return check()
    except Exception as error:
        log.warning("check of %s: %s", name, error)
        return Finding(False, "It does not answer.")


def database() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return Finding(True, facts={"engine": connection.vendor})


def broker() -> Finding:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
        client.ping()
    return Finding(True)


checks["database"] = database
checks["broker"] = broker
