"""Affinity groups, and how machines were placed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts.api.placement import PlacementOut
from portal.api.references import tenant_in
from portal.api.serializers import Choice, Id, Input, Text
from portal.api.views import ApiView
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import group_selectors as selectors
from vms.api.serializers import VerdictOut
from vms.models import VM, AffinityGroup, GroupPolicy
from vms.selectors import vm as find_vm
from vms.services import groups as services
from vms.services.create import resolve_tenant


class GroupIn(Input):
    name = Text(max_length=63, help_text="Lower-case letters, digits and hyphens.")
    policy = Choice(GroupPolicy.values, help_text="apart: each on a host of its own; together: all on one.")
    tenant = Text(max_length=63, required=False, allow_null=True, help_text="Slug or id; your only one if left out.")


class GroupFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")


class MemberIn(Input):
    vm = Id()


class MemberOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class GroupActionsOut(serializers.Serializer[Any]):
    """What you may do with it now, and why not."""

    def get_fields(self) -> dict[str, Any]:
        return {name: VerdictOut() for name in ("add", "remove", "delete")}


class GroupOut(serializers.Serializer[Any]):
    """Machines that are to run apart, or together."""

    # Context: `actor`.
    id = serializers.UUIDField()
    name = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug")
    policy = serializers.ChoiceField(choices=GroupPolicy.values)
    vms = MemberOut(many=True, source="members.all")
    actions = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(GroupActionsOut)
    def get_actions(self, group: AffinityGroup) -> dict[str, dict[str, Any]]:
        verdict = selectors.may_change(self.context["actor"], group.tenant_id)
        shown = {"allowed": verdict.allowed, "reason": verdict.reason}
        return {"add": shown, "remove": shown, "delete": shown}


def group_data(actor: Actor, group: AffinityGroup) -> dict[str, Any]:
    found = selectors.group(actor, group.pk)
    return dict(GroupOut(found, context={"actor": actor}).data)


class Groups(ApiView):
    permissions = {"GET": Permission.VM_READ, "POST": Permission.VM_WRITE}

    @extend_schema(parameters=[GroupFilter], responses=GroupOut(many=True))
    def get(self, request: Request) -> Response:
        """Your affinity groups, newest first."""
        wanted = self.query(GroupFilter)
        tenant = tenant_in(self.actor, wanted.get("tenant"), Permission.VM_READ)
        page = self.page(selectors.groups(self.actor, tenant))
        return self.listed(GroupOut(page, many=True, context={"actor": self.actor}).data)

    @extend_schema(request=GroupIn, responses={201: GroupOut})
    def post(self, request: Request) -> Response:
        """A new group; machines join it when they are created, or later where they are as it says."""
        self.actor.require_somewhere(Permission.VM_WRITE)
        body = self.body(GroupIn)
        tenant = resolve_tenant(self.actor, body.pop("tenant", None), Permission.VM_WRITE)
        group = services.create_group(actor=self.actor, tenant=tenant, **body)
        return self.created(group_data(self.actor, group), f"/api/v1/affinity-groups/{group.pk}")


class GroupDetail(ApiView):
    permissions = {"GET": Permission.VM_READ, "DELETE": Permission.VM_WRITE}

    @extend_schema(responses=GroupOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One group, with its machines."""
        return Response(group_data(self.actor, selectors.group(self.actor, id)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Its machines stay where they are, and are bound no more."""
        services.delete_group(actor=self.actor, group=selectors.group(self.actor, id, Permission.VM_WRITE))
        return Response(status=204)


class GroupMember(ApiView):
    """Add a machine, or remove one."""

    permissions = {"POST": Permission.VM_WRITE}
    is_added = True

    @extend_schema(request=MemberIn, responses=GroupOut)
    def post(self, request: Request, id: UUID) -> Response:
        """A machine that is there already: added where it is as the group says, or removed."""
        group = selectors.group(self.actor, id, Permission.VM_WRITE)
        vm: VM = find_vm(self.actor, self.body(MemberIn)["vm"], Permission.VM_WRITE)
        change = services.add_member if self.is_added else services.remove_member
        change(actor=self.actor, group=group, vm=vm)
        return Response(group_data(self.actor, group))


class VMPlacements(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(responses=PlacementOut(many=True))
    def get(self, request: Request, id: UUID) -> Response:
        """Where it was placed and why, newest first. For the provider's staff."""
        vm = find_vm(self.actor, id)
        self.actor.require(Permission.HOST_READ)
        self.query()
        return self.listed(PlacementOut(self.page(selectors.placements(self.actor, vm)), many=True).data)
