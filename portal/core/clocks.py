"""The clocks of the machines that Berth runs on: almost in step, and now and then set back."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

APART = timedelta(seconds=5)  # at most


def latest() -> datetime:
    """The latest time that anybody can have written by now. A later one is from before a clock was set back."""
    return timezone.now() + APART
