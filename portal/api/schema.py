"""OpenAPI 3.1 of the API: what the views say, and what all of them have in common."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction, OpenApiParameter

from portal.api.problems import MEDIA_TYPE, ProblemSerializer
from portal.api.serializers import Input

_CHANGING = ("POST", "PUT", "PATCH", "DELETE")
_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    OpenApiParameter.HEADER,
    description="The same key and request again give the first answer, with `Idempotent-Replayed: true`, for 24 hours.",
)
_LOCATION = OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201, 202])


class BerthSchema(AutoSchema):
    def get_override_parameters(self) -> list[Any]:
        if self.method not in _CHANGING:
            return []
        return [_LOCATION] if self.method.lower() in getattr(self.view, "keyless", ()) else [_KEY, _LOCATION]

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        responses = super()._get_response_bodies(direction=direction)
        problem = self.resolve_serializer(ProblemSerializer, direction).ref
        for status in self._problem_statuses():
            responses[str(status)] = {
                "description": HTTPStatus(status).phrase,
                "content": {MEDIA_TYPE: {"schema": problem}},
            }
        return dict(sorted(responses.items()))

    def _problem_statuses(self) -> list[int]:
        statuses = [400, 401, 403, 404, 406, 500, 503]
        return statuses + ([409, 413, 415, 422] if self.method in _CHANGING else [])

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False
        return schema


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "portal.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API token: berth_…"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "portal.api.authentication.BrowserSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "berth_session"}


# The groups of the documentation, in this order.
TAGS = {
    "vms": "Virtual machines: create, use, change, delete",
    "images": "What machines are made from",
    "uploads": "Files on their way to become images",
    "flavors": "Sizes of machines",
    "schedules": "Snapshots and backups by the clock, and how many of them are kept",
    "volumes": "Disks: attached to a machine, or waiting for one",
    "backups": "Copies of machines on storage of their own, which outlive them",
    "backup-targets": "Where backups are kept",
    "refused-placements": "Machines that no host took, and why",
    "snapshots": "Points of a machine in time, to which it can be returned",
    "affinity-groups": "Machines that are kept apart, or together",
    "clusters": "Hosts between which machines can move",
    "storage-classes": "Kinds of storage, with what each disk is held to",
    "networks": "What machines are connected to",
    "operations": "Long work: follow, cancel, retry",
    "events": "What happened, to what, by whom",
    "webhooks": "Signed messages to other programs",
    "tenants": "Tenants and their members",
    "invitations": "Offers of a role in a tenant, sent by mail",
    "plans": "What a change would come to, before it is made",
    "quotas": "What tenants may use, and what they use",
    "quota-requests": "Tenants that ask for more, and the answers",
    "quota-rule": "What is given without anybody looking",
    "usage": "What was used, by intervals",
    "charges": "What that costs",
    "budgets": "What it may cost in a month, and what follows when it comes to more",
    "prices": "What a unit of each meter costs, from when on",
    "tokens": "Your API tokens",
    "ssh-keys": "Your SSH keys",
    "hosts": "Where machines run; for the provider's staff",
    "drift": "Where hosts and database differ; for the provider's staff",
}


@cache
def document() -> dict[str, Any]:
    """The whole schema; it changes with the code only, so each process makes it once."""
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    found["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
    return found
