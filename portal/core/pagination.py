"""Lists by cursor: a page costs the same wherever it lies, and rows that come or go shift nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core import signing
from django.db.models import Field, Model, Q, QuerySet

from portal.core.errors import Invalid

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Page(Generic[M]):
    """One page of a list. `next_cursor` is "" where there is nothing behind it."""

    rows: list[M]
    next_cursor: str


def page_of(queryset: QuerySet[M], *, cursor: str, size: int, list_name: str) -> Page[M]:
    """The `size` rows behind `cursor` ("": the first ones), in the queryset's own order; the id decides between equals.

    Cursors are signed and good for the list `list_name` only. Raises Invalid at `cursor`.
    """
    order = _order(queryset)
    queryset = queryset.order_by(*order)
    rows = list((_behind(queryset, order, _values(cursor, list_name)) if cursor else queryset)[: size + 1])
    if len(rows) <= size:
        return Page(rows, "")
    last = [_field(queryset, name).value_to_string(rows[size - 1]) for name in order]
    return Page(rows[:size], signing.dumps(last, salt=_salt(list_name)))


def _order(queryset: QuerySet[Any]) -> list[str]:
    order = [str(name) for name in queryset.query.order_by or queryset.model._meta.ordering]
    key = queryset.model._meta.pk.name
    return order if key in {name.lstrip("-") for name in order} else [*order, key]


def _behind(queryset: QuerySet[M], order: list[str], values: list[str]) -> QuerySet[M]:
    """The first field that differs decides."""
    behind, same = Q(pk__in=[]), Q()
    for name, text in zip(order, values, strict=True):
        field = _field(queryset, name)
        comparison, value = "lt" if name.startswith("-") else "gt", field.to_python(text)
        behind |= same & Q(**{f"{field.name}__{comparison}": value})
        same &= Q(**{field.name: value})
    return queryset.filter(behind)


def _values(cursor: str, list_name: str) -> list[str]:
    try:
        values: list[str] = signing.loads(cursor, salt=_salt(list_name))
    except (signing.BadSignature, ValueError) as error:
        raise Invalid(
            "This is no cursor of this list; start again without one.", code="invalid_cursor", field="cursor"
        ) from error
    return values


def _field(queryset: QuerySet[Any], name: str) -> Field[Any, Any]:
    field: Field[Any, Any] = queryset.model._meta.get_field(name.lstrip("-"))
    return field


def _salt(list_name: str) -> str:
    return f"portal.core.pagination:{list_name}"
