"""Bodies and queries as they may come in: known fields only, and no guessing of types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

LARGEST_INTEGER = 2**31 - 1


class Input(serializers.Serializer[Any]):
    """Unknown fields are refused."""

    # Context: `kind`, what a refusal calls them: field unless told otherwise.

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise ValidationError("Send an object.", code="invalid")
        unknown = sorted(set(data) - set(self.fields))
        if unknown:
            kind = self.context.get("kind", "field")
            words = ErrorDetail(f"There is no such {kind}.", code=f"unknown_{kind}")
            raise ValidationError({name[:100]: [words] for name in unknown[:20]})
        return super().to_internal_value(data)


class Moment(serializers.DateTimeField):
    """RFC 3339 with its time zone, in ASCII. Python reads more (week dates, other digits), and guesses the zone."""

    _SHAPE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str) or not self._SHAPE.fullmatch(value):
            self.fail("invalid", format="2026-01-31T12:00:00Z")
        return super().to_internal_value(value)


class Integer(serializers.IntegerField):
    """A JSON integer: no text, no fraction, no truth value. From 0 to 2^31 - 1 unless told otherwise."""

    default_error_messages = {"not_integer": "Use a whole number."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 0, "max_value": LARGEST_INTEGER, **kwargs})

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("not_integer")
        return data


class Boolean(serializers.BooleanField):
    """true or false, and nothing that looks like it."""

    def to_internal_value(self, data: Any) -> bool:
        if type(data) is not bool:
            self.fail("invalid", input=data)
        return bool(data)


class Text(serializers.CharField):
    """JSON text, taken as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "max_length": 300, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class Choice(serializers.ChoiceField):
    """One of these words; a refusal names them and does not repeat what came."""

    def __init__(self, choices: Sequence[str], **kwargs: Any) -> None:
        super().__init__(choices=choices, **kwargs)
        self.error_messages["invalid_choice"] = f"Use one of: {', '.join(choices)}."

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice")
        return data


class Id(serializers.UUIDField):
    """A UUID as text."""

    default_error_messages = {"invalid": "Use an id."}

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str) or len(data) > 45:
            self.fail("invalid")
        return super().to_internal_value(data)


class NoBody(Input):
    """For calls that say it all by their address."""
