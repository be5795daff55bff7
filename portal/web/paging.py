"""Lists by cursor: a page costs the same wherever it lies, and rows that come or go shift nothing."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from portal.core.errors import Invalid

M = TypeVar("M", bound=Model)
PAGE_SIZE = 50


@dataclass(frozen=True)
class Page(Generic[M]):
    """One page of a list. `next_url` and `first_url` are "" where there is nothing to go to."""

    rows: list[M]
    next_url: str
    first_url: str


def page_of(request: HttpRequest, queryset: QuerySet[M], size: int = PAGE_SIZE) -> Page[M]:
    """The page behind `?after=`, in the queryset's own order, the id telling equal rows apart. Raises Invalid."""
    order = [str(name) for name in queryset.query.order_by or queryset.model._meta.ordering]
    if order[-1].lstrip("-") != "id":
        order.append("id")
        queryset = queryset.order_by(*order)
    after = request.GET.get("after", "")
    rows = list((_following(queryset, order, after) if after else queryset)[: size + 1])
    is_last = len(rows) <= size
    return Page(
        rows=rows[:size],
        next_url="" if is_last else _url(request, _cursor(rows[size - 1], order)),
        first_url=_url(request, "") if after else "",
    )


def _following(queryset: QuerySet[M], order: list[str], after: str) -> QuerySet[M]:
    """Rows behind the cursor: the first field that differs decides."""
    behind, same = Q(pk__in=[]), Q()
    for name, value in zip(order, _values(queryset, order, after), strict=True):
        field, comparison = name.lstrip("-"), "lt" if name.startswith("-") else "gt"
        behind |= same & Q(**{f"{field}__{comparison}": value})
        same &= Q(**{field: value})
    return queryset.filter(behind)


def _values(queryset: QuerySet[M], order: list[str], after: str) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(after.encode() + b"=="))
        fields = [queryset.model._meta.get_field(name.lstrip("-")) for name in order]
        return [field.to_python(str(value)) for field, value in zip(fields, values, strict=True)]  # type: ignore[union-attr]
    except (binascii.Error, ValueError, TypeError, ValidationError) as error:
        raise Invalid("This page's address is damaged; go back to the first page.", field="after") from error


def _cursor(row: Model, order: list[str]) -> str:
    values = [str(getattr(row, name.lstrip("-"))) for name in order]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _url(request: HttpRequest, cursor: str) -> str:
    query = request.GET.copy()
    query.pop("after", None)
    if cursor:
        query["after"] = cursor
    return f"{request.path}?{query.urlencode()}" if query else request.path
