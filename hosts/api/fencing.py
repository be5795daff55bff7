"""Fence agents of hosts."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors
from hosts.api.serializers import FenceAgentIn, FenceAgentOut
from hosts.services import fencing
from portal.api.views import ApiView
from portal.tenancy.roles import Permission


class HostFenceAgent(ApiView):
    permissions = {"GET": Permission.HOST_READ, "PUT": Permission.FENCE_WRITE, "DELETE": Permission.FENCE_WRITE}

    @extend_schema(responses=FenceAgentOut)
    def get(self, request: Request, host: str) -> Response:
        """How its power is cut, and what the last test of that said. The password is never shown."""
        return Response(FenceAgentOut(selectors.fence_agent(self.actor, selectors.host(self.actor, host))).data)

    @extend_schema(request=FenceAgentIn, responses=FenceAgentOut)
    def put(self, request: Request, host: str) -> Response:
        """Say how its power is cut. It is tested within seconds, and every ten minutes from then on."""
        self.actor.require(Permission.FENCE_WRITE)
        found = selectors.host(self.actor, host)
        body = {"options": {}, **self.body(FenceAgentIn)}
        return Response(FenceAgentOut(fencing.set_agent(actor=self.actor, host=found, **body)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, host: str) -> Response:
        """From then on only a person can say that the host is off."""
        self.actor.require(Permission.FENCE_WRITE)
        fencing.remove_agent(actor=self.actor, host=selectors.host(self.actor, host))
        return Response(status=204)
