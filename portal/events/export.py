"""The log as files: JSON lines, or CSV that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet

from portal.events.models import Event

PIECE = 500
COLUMNS = (
    *("id", "at", "kind", "tenant", "target_type", "target_id", "target_name", "actor", "source"),
    *("request_id", "operation", "data"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
Lines = Callable[[Sequence[Event], bool], str]


def after(rows: QuerySet[Event], id: int) -> list[Event]:
    """The next rows of the log, oldest first."""
    return list(rows.filter(pk__gt=id).order_by("pk")[:PIECE])


def json_lines(events: Sequence[Event], is_first: bool) -> str:
    return "".join(f"{json.dumps(_facts(event), ensure_ascii=False)}\n" for event in events)


def comma_separated(events: Sequence[Event], is_first: bool) -> str:
    """RFC 4180, with the names of the columns in the first piece."""
    text = io.StringIO()
    writer = csv.writer(text)
    if is_first:
        writer.writerow(COLUMNS)
    for event in events:
        facts = {**_facts(event), "data": json.dumps(event.data, ensure_ascii=False)}
        writer.writerow([harmless(facts[name]) for name in COLUMNS])
    return text.getvalue()


def _facts(event: Event) -> dict[str, Any]:
    return {
        "id": event.pk,
        "at": event.at.isoformat(),
        "kind": event.kind,
        "tenant": event.tenant.slug if event.tenant else None,
        "target_type": event.target_type,
        "target_id": str(event.target_id),
        "target_name": event.target_name,
        "actor": event.actor,
        "source": event.source,
        "request_id": event.request_id,
        "operation": str(event.operation_id) if event.operation_id else None,
        "data": event.data,
    }


def harmless(value: Any) -> str:
    """What a spreadsheet would take for a formula is text."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


FORMATS: Mapping[str, tuple[str, Lines]] = {
    "jsonl": ("application/jsonl; charset=utf-8", json_lines),
    "csv": ("text/csv; charset=utf-8", comma_separated),
}
