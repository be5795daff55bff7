"""What an image's owner may say of it, and what may be said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from portal.core import text
from portal.core.errors import Invalid
from vms.models import ImageFirmware

MOST_MEMORY_MIB, MOST_DISK_GIB = 16 * 1024 * 1024, 1024 * 1024
# it is shown in a command for people to paste into a shell
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def checked(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The same properties, fit to be stored. Raises Invalid at the field."""
    return {name: _CHECKS[name](value) for name, value in properties.items()}


def _line(field: str, longest: int, *, may_be_empty: bool) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        return "" if may_be_empty and not value.strip() else text.label(value, field=field, longest=longest)

    return check


def _user(value: Any) -> str:
    if value and not _USER.fullmatch(value):
        raise Invalid("Use a login name: lower-case letters, digits, - and _.", field="default_user")
    return str(value)


def _number(field: str, least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not least <= value <= most:
            raise Invalid(f"Use a whole number from {least} to {most}.", field=field)
        return int(value)

    return check


def _firmware(value: Any) -> str:
    if value not in ImageFirmware.values:
        raise Invalid(f"Use one of: {', '.join(ImageFirmware.values)}.", code="invalid_choice", field="firmware")
    return str(value)


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "name": _line("name", 100, may_be_empty=False),
    "description": _line("description", 300, may_be_empty=True),
    "os": _line("os", 60, may_be_empty=True),
    "default_user": _user,
    "has_cloud_init": bool,
    "firmware": _firmware,
    "min_disk_gib": _number("min_disk_gib", 1, MOST_DISK_GIB),
    "min_memory_mib": _number("min_memory_mib", 32, MOST_MEMORY_MIB),
}
PROPERTIES = frozenset(_CHECKS)
