"""Doing something to see what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction


@contextmanager
def trial() -> Iterator[None]:
    """What is written within is undone at its end, and what was to happen after commit never does."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
