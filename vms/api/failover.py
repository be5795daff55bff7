"""Failed hosts: fencing, vouching, clearing, and what is stranded on them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors as hosts
from hosts.api.serializers import HostAcceptedOut
from hosts.api.views import host_data
from hosts.models import Host
from portal.api.serializers import Input, Integer, Text
from portal.api.views import ApiView
from portal.operations.models import Operation
from portal.tenancy.roles import Permission
from vms import failover_selectors as selectors
from vms.services import failover
from vms.services.write_off import write_off


class ConfirmIn(Input):
    name = Text(max_length=63, help_text="The host's name, typed by whoever has seen that its power is off.")


class WriteOffIn(Input):
    name = Text(max_length=63, help_text="The host's name, typed by whoever knows that it never comes back.")
    machines = Integer(
        required=False, help_text="How many are expected to be lost; 409 where it would be another number."
    )


class WrittenOffOut(serializers.Serializer[Any]):
    machines = serializers.IntegerField(help_text="How many were lost with it.")


class StrandedOut(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="vm.pk")
    name = serializers.CharField(source="vm.name")
    tenant = serializers.CharField(source="vm.tenant.slug")
    local = serializers.BooleanField(source="is_local", help_text="No other host reaches its disks.")
    starts_elsewhere = serializers.BooleanField(
        source="outlook.host", default=False, help_text="Another host takes it, by all that placement asks."
    )
    constraint = serializers.CharField(
        source="outlook.constraint", allow_null=True, default=None, help_text="Why none does; null where one does."
    )
    obstacles = serializers.ListField(
        source="outlook.obstacles",
        child=serializers.CharField(),
        default=[],
        help_text="The same of each host that reaches its disks.",
    )
    newest_backup = serializers.UUIDField(allow_null=True, help_text="Its newest complete one.")
    backup_taken_at = serializers.DateTimeField(allow_null=True)
    operation = serializers.UUIDField(source="operation.pk", allow_null=True, default=None)


class _Acting(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    def _host(self, host: str) -> Host:
        self.actor.require(Permission.HOST_WRITE)
        return hosts.host(self.actor, host)

    def _accepted(self, operation: Operation, host: Host) -> Response:
        return self.accepted(operation, host=host_data(host))


class HostFence(_Acting):
    @extend_schema(request=None, responses={202: HostAcceptedOut})
    def post(self, request: Request, host: str) -> Response:
        """Cut its power by its fence agent, and start its machines elsewhere once it is certain that it is off."""
        found = self._host(host)
        self.body()
        return self._accepted(failover.fence(actor=self.actor, host=found), found)


class HostConfirmOff(_Acting):
    @extend_schema(request=ConfirmIn, responses={202: HostAcceptedOut})
    def post(self, request: Request, host: str) -> Response:
        """Vouch that its power is off. Where that is not so, machines that run twice destroy their disks."""
        found = self._host(host)
        typed = self.body(ConfirmIn)["name"]
        return self._accepted(failover.confirm_off(actor=self.actor, host=found, typed=typed), found)


class HostClear(_Acting):
    @extend_schema(request=None, responses={202: HostAcceptedOut})
    def post(self, request: Request, host: str) -> Response:
        """Remove from a failed host what runs elsewhere by now; it is cordoned then. Done by itself when it is back."""
        found = self._host(host)
        self.body()
        return self._accepted(failover.clear(actor=self.actor, host=found), found)


class HostWriteOff(_Acting):
    @extend_schema(request=WriteOffIn, responses=WrittenOffOut)
    def post(self, request: Request, host: str) -> Response:
        """Forget what lay on a failed host alone, because it never comes back; then it can be removed."""
        found = self._host(host)
        body = self.body(WriteOffIn)
        expected = body.get("machines")
        return Response({"machines": write_off(actor=self.actor, host=found, typed=body["name"], machines=expected)})


class HostStranded(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(responses=StrandedOut(many=True))
    def get(self, request: Request, host: str) -> Response:
        """The machines that are on it, with what is left of those that nothing else reaches."""
        found = hosts.host(self.actor, host)
        self.query()
        page = self.page(selectors.machines_on(self.actor, found))
        return self.listed(StrandedOut(selectors.stranded(page), many=True).data)
