"""Operations: following and cancelling long work."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.references import tenant_in
from portal.api.serializers import Choice, Id, Input, Text
from portal.api.views import ApiView
from portal.core.errors import Invalid
from portal.operations import selectors, services
from portal.operations.models import Operation
from portal.operations.states import StepState
from portal.tenancy.roles import Permission

LONGEST_WAIT_SECONDS = 30
LOOK_EVERY_SECONDS = 0.5
STATUSES = ("queued", "running", "succeeded", "failed", "cancelled")

_MOVES = "Of a step under way that moves data; null of others."


class StepOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=StepState.values)
    progress = serializers.SerializerMethodField()
    detail = serializers.CharField()
    done_bytes = serializers.IntegerField(source="amount.done", default=None, allow_null=True, help_text=_MOVES)
    total_bytes = serializers.IntegerField(source="amount.total", default=None, allow_null=True, help_text=_MOVES)
    seconds_left = serializers.FloatField(allow_null=True, help_text="A guess by how fast it is; null where none is.")
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_progress(self, step: Any) -> int:
        return 100 if step.state == StepState.DONE else round(step.progress * 100)


class ResourceOut(serializers.Serializer[Any]):
    type = serializers.CharField(source="target_type")
    id = serializers.UUIDField(source="target_id")
    name = serializers.CharField(source="target_name")


class OperationErrorOut(serializers.Serializer[Any]):
    """problem+json of what happened later than the answer."""

    type = serializers.CharField()
    title = serializers.CharField()
    detail = serializers.CharField()
    code = serializers.CharField()


class OperationBrief(serializers.Serializer[Any]):
    """The operation that a resource is busy with."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    title = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUSES)
    waiting_for = serializers.CharField(help_text="What it waits for, for people; empty where it goes on.")


class OperationOut(OperationBrief):
    """Long work: follow it here until `status` is `succeeded`, `failed` or `cancelled`."""

    # Context: `actor`. Lists prefetch `steps`.
    tenant = serializers.CharField(source="tenant.slug", allow_null=True)
    progress = serializers.SerializerMethodField(help_text="Per cent.")
    step = serializers.SerializerMethodField(help_text="The name of the step that runs, or null.")
    steps = StepOut(many=True)
    resource = ResourceOut(source="*")
    error = serializers.SerializerMethodField()
    cancellable = serializers.SerializerMethodField(help_text="Whether you can cancel it now.")
    cancel_requested_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When it was asked to cancel. One that has succeeded all the same was asked too late.",
    )
    deadline_at = serializers.DateTimeField(help_text="When it gives up waiting, and undoes what was done.")
    needs_attention = serializers.BooleanField(help_text="It is stuck: an administrator retries or unwinds it.")
    created_by = serializers.CharField(source="actor")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_progress(self, operation: Operation) -> int:
        return selectors.progress(operation, operation.steps.all())

    def get_step(self, operation: Operation) -> str | None:
        return next((step.name for step in operation.steps.all() if step.state == StepState.RUNNING), None)

    @extend_schema_field(OperationErrorOut(allow_null=True))
    def get_error(self, operation: Operation) -> dict[str, Any] | None:
        return {"type": "about:blank", **operation.error} if operation.error else None

    def get_cancellable(self, operation: Operation) -> bool:
        return not selectors.why_no_cancel(self.context["actor"], operation)


class OperationAccepted(serializers.Serializer[Any]):
    """202: follow `operation`."""

    operation = OperationOut()


class OperationFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")
    status = Choice(STATUSES, required=False)
    target = Id(required=False, help_text="The id of what it works on.")


class OperationQuery(Input):
    wait = Text(required=False, help_text=f"Seconds to wait for its end, {LONGEST_WAIT_SECONDS} at most.")


class Operations(ApiView):
    permissions = {"GET": Permission.OPERATION_READ}

    @extend_schema(parameters=[OperationFilter], responses=OperationOut(many=True))
    def get(self, request: Request) -> Response:
        """Long work, newest first."""
        wanted = self.query(OperationFilter)
        tenant = tenant_in(self.actor, wanted.pop("tenant", None), Permission.OPERATION_READ)
        rows = selectors.operations(self.actor, tenant=tenant, **wanted)
        page = self.page(rows.select_related("tenant").prefetch_related("steps"))
        return self.listed(OperationOut(page, many=True, context={"actor": self.actor}).data)


class OperationDetail(ApiView):
    permissions = {"GET": Permission.OPERATION_READ}

    @extend_schema(parameters=[OperationQuery], responses=OperationOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One operation; with `wait` the answer comes at its end, or when that time is over."""
        operation = selectors.operation(self.actor, id)
        wait = _seconds(self.query(OperationQuery).get("wait", "0"))
        response = Response(OperationOut(operation, context={"actor": self.actor}).data)
        response.wait_seconds = wait if operation.is_active else 0  # type: ignore[attr-defined]
        return response


class OperationCancel(ApiView):
    permissions = {"POST": Permission.OPERATION_WRITE}

    @extend_schema(request=None, responses={202: OperationAccepted})
    def post(self, request: Request, id: UUID) -> Response:
        """Ask for its end at the next safe point; what was done is undone."""
        operation = selectors.operation(self.actor, id, Permission.OPERATION_WRITE)
        self.body()
        services.cancel(actor=self.actor, operation=operation)
        return self.accepted(operation)


class OperationRetry(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    @extend_schema(request=None, responses={202: OperationAccepted})
    def post(self, request: Request, id: UUID) -> Response:
        """Let one that is stuck go on from its first step that is not done. Administrators only."""
        self.body()
        return self.accepted(services.retry(actor=self.actor, operation_id=id))


class OperationUnwind(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    @extend_schema(request=None, responses={202: OperationAccepted})
    def post(self, request: Request, id: UUID) -> Response:
        """Let one that is stuck try its undo once more. Administrators only."""
        self.body()
        return self.accepted(services.unwind(actor=self.actor, operation_id=id))


def _seconds(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,20}", text):
        raise Invalid("Use a whole number of seconds.", field="wait")
    return min(max(int(text), 0), LONGEST_WAIT_SECONDS)


_respond = OperationDetail.as_view()


async def operation_detail(request: HttpRequest, id: UUID) -> HttpResponse:
    """The view above; while it waits it holds no database connection. Rights are checked anew at the end."""
    respond = sync_to_async(_respond)
    response = await respond(request, id=id)
    end = time.monotonic() + getattr(response, "wait_seconds", 0)
    if time.monotonic() >= end:
        return response
    while time.monotonic() < end and await sync_to_async(_is_active)(id):
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return await respond(request, id=id)


def _is_active(id: UUID) -> bool:
    """A database that does not answer ends the waiting: the view then says so."""
    try:
        return selectors.is_active(id)
    except DatabaseError:
        return False
    finally:
        if not connection.in_atomic_block:
            connection.close()


for name in ("cls", "initkwargs", "csrf_exempt", "login_required"):  # what Django and the schema ask of a view
    setattr(operation_detail, name, getattr(_respond, name))
