"""Database connections of threads that live long and mostly wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


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


@contextmanager
def snapshot() -> Iterator[None]:
    """All queries of the block see the database at one moment. Inside another transaction they see what that sees."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
