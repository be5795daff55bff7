"""What a piece of text from outside may be."""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID

from portal.core.errors import Invalid

HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def no_id(value: str, field: str = "name") -> str:
    """For what is found by its id as well as by name. Raises Invalid at `field` for a name that could be an id."""
    if is_id(value):
        raise Invalid("This looks like an id; choose another name.", code="invalid_name", field=field)
    return value


def is_id(value: object) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def hostname(value: str, field: str = "name") -> str:
    """A DNS label (RFC 1123) in lower case: it names the machine inside as well. Raises Invalid at `field`."""
    if not HOSTNAME.fullmatch(value):
        raise Invalid(
            "Use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends.",
            code="invalid_name",
            field=field,
        )
    if value == "localhost" or value.isdigit():
        raise Invalid(
            "This name would confuse the machine's own network; choose another.", code="invalid_name", field=field
        )
    return value


def slug(value: str, field: str = "slug") -> str:
    """A name for addresses of pages: a DNS label as well."""
    return hostname(value, field)


def label(value: str, field: str = "name", longest: int = 100) -> str:
    """One line for people: trimmed, NFC, no control or invisible characters. Raises Invalid at `field`."""
    value = unicodedata.normalize("NFC", value.strip())
    if not value or len(value) > longest:
        raise Invalid(f"Use 1 to {longest} characters.", code="invalid_name", field=field)
    if any(unicodedata.category(character) in _CONTROL for character in value):
        raise Invalid("Control and invisible characters cannot be used here.", code="invalid_name", field=field)
    return value


ELLIPSIS = "…"


def shortened(words: str, longest: int) -> str:
    """All of it, or as many whole words as fit, and an ellipsis."""
    if len(words) <= longest:
        return words
    head = words[: longest - 1]
    return f"{head.rpartition(' ')[0] or head}{ELLIPSIS}"


def is_beginning(short: str, words: str) -> bool:
    """Whether `short` is what `shortened` left of these words."""
    return short.endswith(ELLIPSIS) and words.startswith(short.removesuffix(ELLIPSIS))
