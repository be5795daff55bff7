"""What a soak has measured."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from tests.soak.chaos import Blow
from tests.soak.clients import Book, Record


def figures(book: Book, blows: Sequence[Blow], seconds: float) -> dict[str, object]:
    """One JSON object; times in seconds."""
    ended = [record for record in book.operations if record.end]
    return {
        "minutes": round(seconds / 60, 1),
        "machines_made": sum(record.kind == "vm.create" and record.end == "succeeded" for record in ended),
        "operations": dict(Counter(record.end or "never ended" for record in book.operations)),
        "failed_by_kind_and_code": dict(Counter(f"{r.kind} {r.code}" for r in ended if r.end != "succeeded")),
        "failed": [f"{r.kind} {r.id}: {r.error}" for r in ended if r.end != "succeeded"],
        "duration": {kind: spread(times) for kind, times in sorted(_durations(ended).items())},
        "answer": spread(book.answers),
        "faults": dict(Counter(blow.name for blow in blows)),
        "end_of_operations_under_way_at_a_fault": {
            name: spread(_after(ended, [blow for blow in blows if blow.name == name]))
            for name in sorted({blow.name for blow in blows})
        },
        "server_errors": len(book.server_errors),
        "broken_promises": len(book.broken_promises),
        "first_broken_promises": book.broken_promises[:3],
    }


def spread(times: Sequence[float]) -> dict[str, float]:
    if len(times) < 2:
        return {"count": len(times), **({"max": round(times[0], 2)} if times else {})}
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
    return {
        "count": len(times),
        "p50": round(statistics.median(times), 2),
        "p95": round(p95, 2),
        "max": round(max(times), 2),
    }


def _durations(ended: Sequence[Record]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for record in ended:
        found.setdefault(record.kind, []).append(record.ended_at - record.asked_at)
    return found


def _after(ended: Sequence[Record], blows: Sequence[Blow]) -> list[float]:
    """From each fault to the end of each operation that was under way at it."""
    return [r.ended_at - blow.at for blow in blows for r in ended if r.asked_at < blow.at < r.ended_at]
