"""Database connections of threads that live long and mostly wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


def release() -> None:
    """Give this thread's connection back (to the pool, where there is one); the next query takes another."""
    if not connection.in_atomic_block:
        connection.close()


@contextmanager
def released() -> Iterator[None]:
    """Whatever the block does with the database, it keeps no connection afterwards."""
    try:
        yield
    finally:
        release()
