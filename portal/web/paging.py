"""Lists by cursor in the pages: `?after=` goes on behind a row, and links carry the filters along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from portal.core import pagination

M = TypeVar("M", bound=Model)
PAGE_SIZE = 20


@dataclass(frozen=True)
class Page(Generic[M]):
    """One page of a list. `next_url` and `first_url` are "" where there is nothing to go to."""

    rows: list[M]
    next_url: str
    first_url: str


def page_of(request: HttpRequest, queryset: QuerySet[M], size: int = PAGE_SIZE) -> Page[M]:
    """Raises Invalid where `?after=` is no cursor of this list."""
    after = request.GET.get("after", "")
    found = pagination.page_of(queryset, cursor=after, size=size, list_name=request.path)
    return Page(
        rows=found.rows,
        next_url=_url(request, found.next_cursor) if found.next_cursor else "",
        first_url=_url(request, "") if after else "",
    )


def _url(request: HttpRequest, cursor: str) -> str:
    query = request.GET.copy()
    query.pop("after", None)
    if cursor:
        query["after"] = cursor
    return f"{request.path}?{query.urlencode()}" if query else request.path
