"""What a backup says of itself: the first member of its zip, checked before anything else is read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from portal.backup.errors import Refused
from portal.backup.places import DATABASE, place

NAME = "manifest.json"
FORMAT = 1
LARGEST_BYTES = 4 * 1024 * 1024
MOST_FILES = 10_000
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Stored:
    """One file of a backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`engine` is "sqlite" or "postgresql"; `migrations` are "app.name"; `created_at` is ISO 8601 in UTC."""

    version: str
    created_at: str
    instance: str
    engine: str
    migrations: list[str]
    files: dict[str, Stored]
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def parse(text: bytes) -> Manifest:
    """Refused where it is not what `to_json` writes, or names a file that no backup has."""
    try:
        values = json.loads(text)
        number = values.get("format") if isinstance(values, dict) else None
    except (ValueError, RecursionError):
        number = None
    if isinstance(number, int) and number > FORMAT:
        raise Refused("This backup was made by a newer Berth. Upgrade Berth first, then restore.")
    if type(number) is not int or number != FORMAT:
        raise Refused("This is no backup of Berth.")
    try:
        manifest = _checked(values)
    except (KeyError, TypeError, AttributeError):
        raise Refused("This is no backup of Berth: its manifest is malformed.") from None
    for name in manifest.files:
        if name != DATABASE and place(name) is None:
            raise Refused(f"The backup holds a file that no backup has: {name[:100]!r}")
    return manifest


def _checked(values: dict[str, Any]) -> Manifest:
    words = {name: values[name] for name in ("version", "created_at", "instance", "engine")}
    migrations, files = values["migrations"], values["files"]
    if not all(isinstance(word, str) and len(word) <= 100 for word in [*words.values(), *migrations]):
        raise TypeError
    if len(files) > MOST_FILES or not {DATABASE, "secret-key"} <= set(files):
        raise KeyError
    return Manifest(**words, migrations=list(migrations), files={name: _stored(files[name]) for name in files})


def _stored(values: dict[str, Any]) -> Stored:
    stored = Stored(bytes=values["bytes"], sha256=values["sha256"])
    if type(stored.bytes) is not int or stored.bytes < 0 or not _DIGEST.fullmatch(stored.sha256):
        raise TypeError
    return stored
