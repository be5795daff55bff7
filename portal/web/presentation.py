"""How states, sizes and ages are told to people: looks, words and units, for templates and presenters alike."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

THIN_SPACE = "\u202f"
GIB_IN_MIB = 1024

# The look of a word: hue and shape come from it (static/css/components/status.css).
LOOKS = {
    "running": "running",
    "enabled": "running",
    "ready": "running",
    "succeeded": "running",
    "active": "running",
    "stopped": "stopped",
    "cancelled": "stopped",
    "queued": "working",
    "retired": "stopped",
    "disabled": "stopped",
    "building": "working",
    "deleting": "working",
    "pending": "working",
    "working": "working",
    "paused": "attention",
    "cordoned": "attention",
    "attention": "attention",
    "unreachable": "attention",
    "error": "failed",
    "failed": "failed",
    "unusable": "failed",
}


def look(word: str) -> str:
    return LOOKS.get(word, "stopped")


def mib(value: int) -> str:
    """256 MiB, 1.5 GiB."""
    if value < GIB_IN_MIB:
        return f"{value}{THIN_SPACE}MiB"
    return f"{value / GIB_IN_MIB:.4g}{THIN_SPACE}GiB"


def size(bytes_: int) -> str:
    """In the largest binary unit that leaves at least 1."""
    value = float(bytes_)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g}{THIN_SPACE}{unit}"
        value /= 1024
    return f"{value:.4g}{THIN_SPACE}TiB"


def age(moment: datetime | None) -> str:
    """just now, 12 s ago, 5 min ago, 3 h ago, 9 days ago, then the date."""
    if moment is None:
        return "never"
    passed = timezone.now() - moment
    if passed < timedelta(seconds=5):
        return "just now"
    if passed > timedelta(days=30):
        return moment.strftime("%-d %b %Y")
    return f"{span(passed)} ago"


def span(duration: timedelta | float) -> str:
    """0.4 s, 12 s, 5 min, 3 h, 9 days."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    for unit, length in (("day", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{seconds:.0f} s"
