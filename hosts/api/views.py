"""Hosts, for the provider's staff."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors
from hosts.access import FIELDS, access_in
from hosts.api.serializers import AccessIn, HostAcceptedOut, HostIn, HostOut, PolicyIn
from hosts.models import Host, HostState
from hosts.services import hosts as services
from portal.api.views import ApiView
from portal.core.errors import Invalid
from portal.tenancy.roles import Permission


def host_data(host: Host) -> dict[str, Any]:
    return dict(HostOut(host, context={"claimed": {host.pk: selectors.claimed(host)}}).data)


class Hosts(ApiView):
    permissions = {"GET": Permission.HOST_READ, "POST": Permission.HOST_WRITE}

    @extend_schema(responses=HostOut(many=True))
    def get(self, request: Request) -> Response:
        """All hosts by name, with what they can and what machines hold of them."""
        rows = selectors.hosts(self.actor)
        self.query()
        page = self.page(rows)
        claimed = selectors.claimed_of_each(page)
        return self.listed(HostOut(page, many=True, context={"claimed": claimed}).data)

    @extend_schema(request=HostIn, responses={202: HostAcceptedOut})
    def post(self, request: Request) -> Response:
        """Register a host; its check decides whether it will run anything."""
        self.actor.require(Permission.HOST_WRITE)
        body = self.body(HostIn)
        given = {name: body.pop(name) for name in FIELDS}
        host, operation = services.add_host(actor=self.actor, access=access_in(**given), **body)
        return self.accepted(operation, host=host_data(host))


class HostDetail(ApiView):
    permissions = {"GET": Permission.HOST_READ, "PATCH": Permission.HOST_WRITE, "DELETE": Permission.HOST_WRITE}

    @extend_schema(responses=HostOut)
    def get(self, request: Request, host: str) -> Response:
        """One host, by name or id."""
        return Response(host_data(selectors.host(self.actor, host)))

    @extend_schema(request=PolicyIn, responses=HostOut)
    def patch(self, request: Request, host: str) -> Response:
        """Change its policy, labels or cluster. Lowering a ratio blocks new machines and harms none."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.host(self.actor, host)
        body = self.body(PolicyIn)
        with transaction.atomic():
            if "cluster" in body:
                services.set_cluster(actor=self.actor, host=found, cluster=body.pop("cluster"))
            if "labels" in body:
                services.set_labels(actor=self.actor, host=found, labels=body.pop("labels"))
            if "peer_uri" in body:
                services.set_peer_uri(actor=self.actor, host=found, uri=body.pop("peer_uri"))
            if body:
                services.set_policy(actor=self.actor, host=found, **body)
        return Response(host_data(found))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, host: str) -> Response:
        """Let go of an empty host; what lies on it stays there."""
        self.actor.require(Permission.HOST_WRITE)
        services.remove_host(actor=self.actor, host=selectors.host(self.actor, host))
        return Response(status=204)


class HostAccess(ApiView):
    permissions = {"PUT": Permission.HOST_WRITE}

    @extend_schema(request=AccessIn, responses=HostOut)
    def put(self, request: Request, host: str) -> Response:
        """Reach it with another key or other certificates. It is checked at once."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.host(self.actor, host)
        access = access_in(**self.body(AccessIn))
        if access is None:
            raise Invalid("Give a key or certificates.", field="ssh_key")
        return Response(host_data(services.set_access(actor=self.actor, host=found, access=access)))


class HostStateChange(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}
    state = HostState.CORDONED

    @extend_schema(request=None, responses=HostOut)
    def post(self, request: Request, host: str) -> Response:
        """Cordon: no new machines. Uncordon: again. What runs is left alone."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.host(self.actor, host)
        self.body()
        return Response(host_data(services.set_state(actor=self.actor, host=found, state=self.state)))


class HostCheck(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    @extend_schema(request=None, responses={202: HostAcceptedOut})
    def post(self, request: Request, host: str) -> Response:
        """Look at it again: facts, pool, network, and a trivial guest for each accelerator."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.host(self.actor, host)
        self.body()
        return self.accepted(services.preflight(actor=self.actor, host=found), host=host_data(found))
