"""The world of tests is made once in a process, and put into each test's transaction as if it had just been made.

Making it takes some hundred queries; putting back its rows takes one for each table. All its times move along, so
what is said to have answered a moment ago has done so for every test.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import connection, models
from django.utils import timezone

from tests.world import World, make_world

Rows = dict[type[models.Model], frozenset[tuple[Any, ...]]]


@dataclass(frozen=True)
class _Mould:
    before: Rows
    made: Rows
    world: World
    at: datetime


_moulds: list[_Mould] = []


def fresh_world() -> World:
    """Must run in the transaction of a test that is rolled back."""
    if connection.vendor != "sqlite":
        return make_world()
    before = _rows()
    if not _moulds:
        _moulds.append(_cast(before))
        return copy.deepcopy(_moulds[0].world)
    mould = _moulds[0]
    if before != mould.before:  # a test that commits has emptied tables that migrations filled
        return make_world()
    later = timezone.now() - mould.at
    for model, rows in mould.made.items():
        _put(model, [_moved(row, later) for row in sorted(rows, key=repr)])
    return _later_world(mould.world, later)


def _cast(before: Rows) -> _Mould:
    world = make_world()
    after = _rows()
    made = {model: after[model] - before[model] for model in after if after[model] != before[model]}
    return _Mould(before, made, copy.deepcopy(world), timezone.now())


def _rows() -> Rows:
    """All of them, as the database has them."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            if not model._meta.proxy:
                columns = ", ".join(f'"{field.column}"' for field in _fields(model))
                found[model] = frozenset(cursor.execute(f'SELECT {columns} FROM "{model._meta.db_table}"').fetchall())
    return found


def _put(model: type[models.Model], rows: Sequence[tuple[Any, ...]]) -> None:
    names = [f'"{field.column}"' for field in _fields(model)]
    places = ", ".join(["%s"] * len(names))
    with connection.cursor() as cursor:
        cursor.executemany(
            f'INSERT OR REPLACE INTO "{model._meta.db_table}" ({", ".join(names)}) VALUES ({places})', rows
        )


def _moved(row: tuple[Any, ...], later: timedelta) -> tuple[Any, ...]:
    return tuple(value + later if isinstance(value, datetime) else value for value in row)


def _later_world(made: World, later: timedelta) -> World:
    world = copy.deepcopy(made)
    for each in _instances(world):
        for field in _fields(type(each)):
            value = each.__dict__.get(field.attname)
            if isinstance(field, models.DateTimeField) and value is not None:
                each.__dict__[field.attname] = value + later
    return world


def _instances(world: World) -> Iterator[models.Model]:
    """With what they have at hand of others."""
    known: set[int] = set()
    waiting: list[Any] = [*world.people.values(), *world.machines.values(), *vars(world).values()]
    while waiting:
        each = waiting.pop()
        if isinstance(each, models.Model) and id(each) not in known:
            known.add(id(each))
            waiting += each._state.fields_cache.values()
            yield each


def _fields(model: type[models.Model]) -> Sequence[models.Field[Any, Any]]:
    return model._meta.local_concrete_fields
