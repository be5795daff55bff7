"""When a webhook that did not take its message is tried again, and for how long. Pure."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

PAUSES_SECONDS = (5, 30, 120, 600, 1800, 3600, 7200, 4 * 3600, 6 * 3600)
LONGEST_PAUSE = timedelta(seconds=PAUSES_SECONDS[-1] * 1.2)
GIVE_UP_AFTER = timedelta(days=3)
GONE = 410  # HTTP: for good


def pause(failures: int, retry_after: float = 0.0) -> timedelta:
    """After so many failures in a row, never in step with others; not before the server wants to be asked again."""
    seconds = PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311
    return min(timedelta(seconds=max(seconds, retry_after)), LONGEST_PAUSE)


def why_given_up(failing_since: datetime, now: datetime, status: int | None, detail: str) -> str:
    """Words for the owner; "" while it goes on."""
    if status == GONE:
        return "The server said that it is gone for good (410)."
    if now - failing_since >= GIVE_UP_AFTER:
        return f"It took nothing for {GIVE_UP_AFTER.days} days. The last time: {detail}"[:300]
    return ""
