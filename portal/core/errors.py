"""What a use case says when it refuses. The API renders it as problem+json, the pages at the field or as a notice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DomainError(Exception):
    """A refusal with a stable `code`, words for a person, the `field` it is about, and facts in `extra`."""

    status = 400
    code = "invalid"

    def __init__(
        self, detail: str, *, code: str | None = None, field: str | None = None, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.field = field
        self.extra = dict(extra or {})

    def remember(self) -> None:
        """Keep what is to be known of the refusal: called by whoever tells it, when its transaction was undone."""


class Invalid(DomainError):
    """The request makes no sense as it is."""


class NotFound(DomainError):
    """It does not exist, or the actor may not know that it does."""

    status = 404
    code = "not_found"


class Forbidden(DomainError):
    """The actor sees the thing, but may not do that to it."""

    status = 403
    code = "forbidden"


class TooMany(DomainError):
    """It was asked for too often; later it is taken."""

    status = 429
    code = "too_many"


class Conflict(DomainError):
    """The thing's present state does not allow it."""

    status = 409
    code = "conflict"
