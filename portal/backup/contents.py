"""Whether what an archive holds is an installation: looked at when it lies beside the old one, before the exchange."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from portal.backup import places
from portal.backup.errors import Refused

_OBJECTS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view')",
    "postgresql": """
        SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
            WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal
        UNION SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
        UNION SELECT relname FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('v', 'm', 'f')
        UNION SELECT rulename FROM pg_rules WHERE schemaname = current_schema()""",
}


def require_files(staged: Mapping[str, Path]) -> None:
    """Of the files by their names in the backup, those that something stands on."""
    if (key := staged.get(places.SECRET_KEY)) and not _text(key).strip():
        raise Refused("The backup is damaged: its secret key is empty.")
    if login := staged.get(places.FIRST_LOGIN):
        try:
            values = json.loads(_text(login))
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise Refused("The backup is damaged: its first-login.json is no JSON object.")
    if settings := staged.get(places.SETTINGS):
        _text(settings)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Refused(f"The backup is damaged: {path.name.removesuffix('.restoring')} is no text.") from None


def require_history(applied: list[str], listed: list[str]) -> None:
    """The migrations that the database says it has, against the manifest's."""
    if not applied:
        raise Refused("The backup's database is empty, or none of Berth's.")
    if sorted(applied) != sorted(listed):
        differing = ", ".join(sorted(set(applied) ^ set(listed))[:5]) or "one is there twice"
        raise Refused(
            f"The backup is damaged: its manifest lists other migrations than its database has ({differing})."
        )


def require_schema() -> None:
    """Of the database that Django is connected to: all tables with all their columns, and nothing that acts by itself.

    Our own triggers are made anew, so that they do what they should.
    """
    from django.apps import apps
    from django.db import connection

    from portal.events import triggers

    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))
        for model in apps.get_models(include_auto_created=True):
            if not model._meta.managed or model._meta.proxy:
                continue
            table = model._meta.db_table
            columns = {field.column for field in model._meta.local_concrete_fields}
            if table not in there or columns - _columns(table):
                raise Refused(f"The backup is damaged: its database lacks the table {table}, or a part of it.")
        cursor.execute(_OBJECTS[connection.vendor])
        if foreign := sorted({name for (name,) in cursor.fetchall()} - triggers.OBJECTS):
            raise Refused(f"The backup's database holds what no database of Berth has: {', '.join(foreign[:5])}")
    with connection.schema_editor() as editor:
        triggers.reinstall(editor)


def _columns(table: str) -> set[str]:
    from django.db import connection

    with connection.cursor() as cursor:
        return {column.name for column in connection.introspection.get_table_description(cursor, table)}
