"""JSON as strict as it can be: what two readers could understand differently is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

DEEPEST = 20


class TooLarge(APIException):
    status_code = 413
    default_detail = "The body is too large."
    default_code = "too_large"


class StrictJSONParser(BaseParser):
    """One JSON object in UTF-8 of at most DATA_UPLOAD_MAX_MEMORY_SIZE bytes, decimals as Decimal.

    Refused: equal keys, NaN and Infinity, deep nesting, lone surrogates, NUL, other encodings and compression.
    """

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        _check_encoding(media_type or "", (parser_context or {}).get("request"))
        raw = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(raw) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge
        try:
            found = json.loads(
                raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse, parse_float=Decimal
            )
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply.") from error
        except ValueError as error:  # also of undecodable bytes and of numbers with thousands of digits
            raise ParseError(_words(error)) from error
        if not isinstance(found, dict):
            raise ParseError("Send one JSON object.")
        _check(found, DEEPEST)
        return found


def _check_encoding(media_type: str, request: Any) -> None:
    charset = media_type.lower().partition("charset=")[2].split(";")[0].strip(' "')
    compression = request.headers.get("Content-Encoding", "identity") if request else "identity"
    if charset not in ("", "utf-8", "utf8") or compression.lower() not in ("", "identity"):
        raise UnsupportedMediaType(media_type, "Send JSON in UTF-8, not compressed.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two equal keys in one object")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _words(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "The body is not UTF-8."
    return f"The body is not JSON: {str(error)[:100]}."


def _check(value: Any, depth: int) -> None:
    if depth < 0:
        raise ParseError("The JSON is nested too deeply.")
    if isinstance(value, str) and ("\x00" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        raise ParseError("Text with NUL or half a surrogate pair cannot be stored.")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth - 1)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
