"""The table of results: one row for each kind and step, one column for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.faults.faults import FAULTS

SIGNS = {"succeeded": "G", "failed": "X", "cancelled": "C"}
LEGEND = (
    "G went on and succeeded, X failed truthfully and is undone, C cancelled, **red** an invariant was broken; "
    "the figure is the seconds from the end of the fault to the end of the operation."
)


def write(results: list[dict[str, Any]], place: Path) -> None:
    """Writes `place`.json and `place`.md."""
    found = sorted(results, key=lambda result: str(result["cell"]))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".json").write_text(json.dumps(found, indent=1))
    place.with_suffix(".md").write_text(table(found))


def in_words(results: list[dict[str, Any]], place: Path) -> str:
    """For the end of the run."""
    red = sum(not result["passed"] for result in results)
    slowest = max(results, key=lambda result: float(result.get("seconds", 0)))
    return (
        f"fault matrix: {len(results)} cells, {red} red; slowest end {slowest.get('seconds', 0)} s "
        f"({slowest['cell']}); table in {place.with_suffix('.md')}"
    )


def table(results: list[dict[str, Any]]) -> str:
    rows: dict[str, dict[str, str]] = {}
    for result in results:
        kind, step, fault = str(result["cell"]).split("/")
        rows.setdefault(f"{kind} {step}", {})[fault] = _words(result)
    faults = list(dict.fromkeys([*FAULTS, *(fault for row in rows.values() for fault in row)]))
    lines = [f"| step | {' | '.join(faults)} |", f"|---|{'---|' * len(faults)}"]
    lines += [
        f"| {name} | {' | '.join(row.get(fault, '') for fault in faults)} |" for name, row in sorted(rows.items())
    ]
    return "\n".join([*lines, "", LEGEND, ""])


def _words(result: dict[str, Any]) -> str:
    sign = SIGNS.get(str(result.get("end")), "?")
    return f"{sign} {result.get('seconds', '')}" if result["passed"] else "**red**"
