"""How states and ages are told to people: looks and words, for templates and presenters alike."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

# The look of a word: hue and shape come from it (static/css/components/status.css).
LOOKS = {
    "running": "running",
    "enabled": "running",
    "ready": "running",
    "accepted": "running",
    "approved": "running",
    "succeeded": "running",
    "delivered": "running",
    "active": "running",
    "stopped": "stopped",
    "cancelled": "stopped",
    "queued": "working",
    "open": "working",
    "revoked": "stopped",
    "expired": "stopped",
    "refused": "stopped",
    "withdrawn": "stopped",
    "ended": "stopped",
    "closed": "stopped",
    "purged": "stopped",
    "retired": "stopped",
    "disabled": "stopped",
    "building": "working",
    "deleting": "working",
    "pending": "working",
    "working": "working",
    "paused": "attention",
    "suspended": "attention",
    "cordoned": "attention",
    "attention": "attention",
    "unreachable": "attention",
    "failing": "attention",
    "error": "failed",
    "failed": "failed",
    "unusable": "failed",
}

# The look of a toast, by the level of Django's message; what is not here went well.
MESSAGE_LOOKS = {"warning": "attention", "error": "failed"}


def look(word: str) -> str:
    return LOOKS.get(word, "stopped")


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


def wait(moment: datetime) -> str:
    """in 12 s, in 5 min, in 3 h, in 9 days; any moment now."""
    left = moment - timezone.now()
    return f"in {span(left)}" if left >= timedelta(seconds=10) else "any moment now"


def span(duration: timedelta | float) -> str:
    """0.4 s, 12 s, 5 min, 3 h, 9 days."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    for unit, length in (("day", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{int(seconds)} s"  # cut off as minutes and hours are, so that no "60 s" appears
