"""The database's own refusal to change the log.

SQLite forgets triggers when a migration rebuilds their table: such a migration ends with RunPython(install).
"""

from __future__ import annotations

from typing import Any

_REFUSED = "events are append-only"
_SQLITE = (
    "CREATE TRIGGER IF NOT EXISTS {name} BEFORE {what} ON events_event BEGIN SELECT RAISE(ABORT, '{refused}'); END"
)
# INSERT OR REPLACE removes the old row without a word to the trigger above.
_SQLITE_REPLACE = (
    "CREATE TRIGGER IF NOT EXISTS event_is_never_replaced BEFORE INSERT ON events_event "
    "WHEN EXISTS (SELECT 1 FROM events_event WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, '{refused}'); END"
)
_POSTGRESQL_FUNCTION = """
    CREATE OR REPLACE FUNCTION events_append_only() RETURNS trigger AS $$
    BEGIN RAISE EXCEPTION '{refused}' USING ERRCODE = 'integrity_constraint_violation'; END
    $$ LANGUAGE plpgsql
"""
_POSTGRESQL = """
    CREATE OR REPLACE TRIGGER {name} BEFORE {what} ON events_event FOR EACH ROW EXECUTE FUNCTION events_append_only()
"""
NAMES = {"UPDATE": "event_is_never_changed", "DELETE": "event_is_never_removed"}
_NEVER_REPLACED = "event_is_never_replaced"
# All that a database of Berth has of triggers and functions.
OBJECTS = frozenset({*NAMES.values(), _NEVER_REPLACED, "events_append_only"})


def install(apps: Any, schema_editor: Any) -> None:
    """The triggers, for SQLite or PostgreSQL."""
    vendor = schema_editor.connection.vendor
    if vendor == "postgresql":
        schema_editor.execute(_POSTGRESQL_FUNCTION.format(refused=_REFUSED))
    trigger = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}[vendor]
    for what, name in NAMES.items():
        schema_editor.execute(trigger.format(name=name, what=what, refused=_REFUSED))
    if vendor == "sqlite":
        schema_editor.execute(_SQLITE_REPLACE.format(refused=_REFUSED))


def reinstall(schema_editor: Any) -> None:
    """As a migration has made them, whatever they were meanwhile."""
    remove(None, schema_editor)
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {_NEVER_REPLACED}")
    install(None, schema_editor)


def remove(apps: Any, schema_editor: Any, only: str = "") -> None:
    """Those against change and removal, or `only` that for "UPDATE" or "DELETE"."""
    of_table = " ON events_event" if schema_editor.connection.vendor == "postgresql" else ""
    for what, name in NAMES.items():
        if only in ("", what):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}{of_table}")
