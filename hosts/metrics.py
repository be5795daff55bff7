"""What was used, as series over time for graphs and programs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from hosts.models.usage import MINUTE, QUARTER

SPANS: Mapping[str, tuple[timedelta, int]] = {
    "hour": (timedelta(hours=1), MINUTE),
    "day": (timedelta(days=1), MINUTE),
    "month": (timedelta(days=31), QUARTER),
}
SERIES = (
    *("cpu_percent", "wait_percent", "memory_mib", "read_bytes_s", "written_bytes_s", "requests_s"),
    *("received_bytes_s", "sent_bytes_s"),
)
_SUMS = ("read_bytes", "written_bytes", "requests", "received_bytes", "sent_bytes")
_FIELDS = ("at", "length_ms", "cpu_ms", "wait_ms", "memory_mib", *_SUMS)
Point = list[float | None]


def series(rows: QuerySet[Any], span: str, cpus: int, now: datetime) -> dict[str, Any]:
    """`at` in seconds since 1970, and a list as long for each of SERIES, null where nothing was measured.

    `rows` are those of one host or machine; CPU and waiting are percent of its `cpus`. One query.
    """
    length, step = SPANS[span]
    at: list[int] = []
    values: dict[str, Point] = {name: [] for name in SERIES}
    for row in rows.filter(step=step, at__gte=now - length).order_by("at").values(*_FIELDS):
        begun = int(row["at"].timestamp())
        if at and begun - at[-1] > step:
            _add(at, values, at[-1] + step, dict.fromkeys(SERIES))
        _add(at, values, begun, _point(row, max(cpus, 1)))
    return {"step": step, "from": int((now - length).timestamp()), "to": int(now.timestamp()), "at": at, **values}


def _point(row: Mapping[str, Any], cpus: int) -> dict[str, float | None]:
    length_ms = max(row["length_ms"], 1)
    used = {name: round(100 * row[f"{name}_ms"] / length_ms / cpus, 2) for name in ("cpu", "wait")}
    rates = {f"{name}_s": round(1000 * row[name] / length_ms, 1) for name in _SUMS}
    return {"cpu_percent": used["cpu"], "wait_percent": used["wait"], "memory_mib": row["memory_mib"], **rates}


def _add(at: list[int], values: dict[str, Point], begun: int, point: Mapping[str, float | None]) -> None:
    at.append(begun)
    for name in SERIES:
        values[name].append(point[name])
