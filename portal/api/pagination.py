"""Lists as `{"results": [...], "next": URL or null}` and a Link header (RFC 8288)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode, urljoin

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.core.errors import Invalid
from portal.core.pagination import Page, page_of

PAGE_SIZE, LARGEST_PAGE = 50, 100
PARAMETERS = ("limit", "cursor")


class CursorPagination(BasePagination):
    """`?limit=` from 1 to 100 and `?cursor=` as `next` has it; anything else is a 400."""

    def paginate_queryset(  # type: ignore[override]  # the framework pages plain lists as well
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        self._request = request
        self._page: Page[Any] = page_of(
            queryset,
            cursor=request.query_params.get("cursor", ""),
            size=limit_of(request.query_params.get("limit")),
            list_name=request.path,
        )
        return self._page.rows

    def get_paginated_response(self, data: Any) -> Response:
        return linked(self._request, data, self._page.next_cursor)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {"results": schema, "next": {"type": ["string", "null"], "format": "uri"}},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        limit = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE_SIZE}
        return [
            {"name": "limit", "in": "query", "description": "Rows on a page.", "schema": limit},
            {"name": "cursor", "in": "query", "description": "As `next` has it.", "schema": {"type": "string"}},
        ]


def linked(request: Request, data: Any, next_cursor: str) -> Response:
    """A page of a list, with the address of the one behind it where there is one."""
    url = _next_url(request, next_cursor) if next_cursor else None
    headers = {"Link": f'<{url}>; rel="next"'} if url else None
    return Response({"results": data, "next": url}, headers=headers)


def _next_url(request: Request, cursor: str) -> str:
    query = {**request.query_params.dict(), "cursor": cursor}
    return str(urljoin(settings.PUBLIC_URL, f"{request.path}?{urlencode(query)}"))


def limit_of(text: str | None) -> int:
    if text is None:
        return PAGE_SIZE
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise Invalid(f"Use a whole number from 1 to {LARGEST_PAGE}.", code="invalid_limit", field="limit")
    return int(text)
