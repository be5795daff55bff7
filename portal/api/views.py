"""What every view of the API stands on: the actor, the scope, strict input, and answers in one shape.

A view declares `permissions` for its methods; the token's scope is checked before anything is looked up, the rest is
the gate's. Changing methods honour Idempotency-Key by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api import idempotency
from portal.api.authentication import actor_of
from portal.api.pagination import PARAMETERS, CursorPagination
from portal.api.schema import BerthSchema
from portal.api.serializers import Input, NoBody
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission

CHANGING = ("post", "put", "patch", "delete")


class ApiView(APIView):
    """`permissions` maps methods to what a token must be made for; `secrets` are members that are shown once.

    `keyless` are changing methods without an Idempotency-Key: those whose requests say themselves where they go on.
    """

    permissions: ClassVar[Mapping[str, Permission]] = {}
    keyless: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[tuple[str, ...]] = ()
    pagination_class = CursorPagination
    metadata_class = None
    schema = BerthSchema()
    actor: Actor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for method in ("get", *CHANGING):
            if method in vars(cls) and method.upper() not in cls.permissions:
                raise TypeError(f"{cls.__name__}.{method}: say which permission it takes")
            if method in vars(cls) and method in CHANGING and method not in cls.keyless:
                setattr(cls, method, _once(vars(cls)[method]))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.actor = actor_of(request)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method in self.permissions:
            self.actor.require_scope(self.permissions[method])

    # -- in --------------------------------------------------------------------------------------------------------

    def body(self, serializer: type[Input] = NoBody) -> dict[str, Any]:
        """The validated body; ValidationError by field."""
        return _validated(serializer, self.request.data)

    def query(self, serializer: type[Input] = NoBody) -> dict[str, Any]:
        """The validated query, without what the list's pages need."""
        given = self.request.query_params.dict()
        own = {name: value for name, value in given.items() if name not in PARAMETERS}
        return _validated(serializer, own, kind="parameter")

    # -- out -------------------------------------------------------------------------------------------------------

    def page(self, queryset: QuerySet[Any]) -> list[Any]:
        self._paginator = CursorPagination()
        return self._paginator.paginate_queryset(queryset, self.request, self)

    def listed(self, results: Any) -> Response:
        """The answer with the page that `page` gave."""
        return self._paginator.get_paginated_response(results)

    def created(self, data: Any, location: str = "") -> Response:
        return Response(data, status=201, headers={"Location": location} if location else None)

    def accepted(self, operation: Operation, **resources: Any) -> Response:
        """202: the operation to follow, and what it works on."""
        from portal.api.operations import OperationOut

        operation.refresh_from_db()  # a quick worker may have begun already; its steps are read anew as well
        data = {"operation": OperationOut(operation, context={"actor": self.actor}).data, **resources}
        return Response(data, status=202, headers={"Location": f"/api/v1/operations/{operation.pk}"})


def _once(handler: Callable[..., Response]) -> Callable[..., Response]:
    @wraps(handler)
    def answer(view: ApiView, request: Request, *args: Any, **kwargs: Any) -> Response:
        return idempotency.once(request, lambda: handler(view, request, *args, **kwargs), view.secrets)

    return answer


def _validated(serializer: type[Input], data: Any, kind: str = "field") -> dict[str, Any]:
    found = serializer(data=data, context={"kind": kind})
    found.is_valid(raise_exception=True)
    return dict(found.validated_data)


class Unknown(ApiView):
    """Every other address under /api/v1: a problem, not a page."""

    schema = None  # type: ignore[assignment]  # it is none of the API's addresses

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound("There is nothing at this address.")
