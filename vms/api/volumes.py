"""Volumes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.operations import OperationBrief, OperationOut
from portal.api.references import tenant_in
from portal.api.serializers import Input, Integer, Text
from portal.api.views import ApiView
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import volume_selectors as selectors
from vms.api.serializers import VerdictOut
from vms.models import Volume
from vms.services import volume_change, volumes
from vms.volume_states import VolumeAction


class VolumeIn(Input):
    name = Text(max_length=63, help_text="For people.")
    size_gib = Integer()
    tenant = Text(max_length=63, required=False, allow_null=True, help_text="Slug or id; your only one if left out.")
    storage_class = Text(
        max_length=63, required=False, allow_null=True, help_text="Slug; the default storage of its host if left out."
    )
    vm = Text(max_length=63, required=False, allow_null=True, help_text="Id or name: on its host, and attached to it.")


class VolumeChange(Input):
    name = Text(max_length=63)


class VolumeFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")
    vm = serializers.UUIDField(required=False, help_text="Attached to this machine.")
    attached = serializers.BooleanField(required=False, help_text="Attached to any, or to none.")
    search = Text(max_length=63, required=False, help_text="Part of a name.")


class AttachIn(Input):
    vm = Text(max_length=63, help_text="Id or name of a machine of the same tenant.")


class GrowIn(Input):
    size_gib = Integer(help_text="The new size, larger than it is.")


class MoveIn(Input):
    storage_class = Text(max_length=63, required=False, allow_null=True, help_text="Slug.")
    pool = Text(
        max_length=63, required=False, allow_null=True, help_text="A pool of its host, by name. For administrators."
    )


class VolumeActionsOut(serializers.Serializer[Any]):
    """What you may do with it now, and why not."""

    def get_fields(self) -> dict[str, Any]:
        return {str(action): VerdictOut() for action in VolumeAction}


class AttachedOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()


class LimitsOut(serializers.Serializer[Any]):
    read_iops = serializers.IntegerField(allow_null=True)
    write_iops = serializers.IntegerField(allow_null=True)
    read_mib_s = serializers.IntegerField(allow_null=True)
    write_mib_s = serializers.IntegerField(allow_null=True)


class VolumeOut(serializers.Serializer[Any]):
    """A disk, attached to a machine or by itself."""

    # Context: `actor`; `operations`, what is under way by id of volume; `with_snapshots`, ids of volumes.
    id = serializers.UUIDField()
    name = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug")
    status = serializers.SerializerMethodField()
    size_gib = serializers.IntegerField()
    storage_class = serializers.CharField(source="layer.pool.storage_class.slug")
    limits = LimitsOut(source="layer.pool.storage_class", help_text="What it may do in a second; null is no limit.")
    vm = AttachedOut(allow_null=True, help_text="What it is attached to, or null.")
    boot = serializers.BooleanField(source="is_boot", help_text="Whether its machine starts from it.")
    target = serializers.CharField(help_text="Its name in most guests, such as vdb; empty where it is not attached.")
    device = serializers.SerializerMethodField(help_text="Where a guest finds it whatever its name there.")
    actions = serializers.SerializerMethodField()
    operation = serializers.SerializerMethodField(help_text="What is under way, or null.")
    pool = serializers.SerializerMethodField(help_text="HOST/POOL for the provider's staff; null for everybody else.")
    created_at = serializers.DateTimeField()

    @extend_schema_field(serializers.ChoiceField(choices=selectors.STATUSES))
    def get_status(self, volume: Volume) -> str:
        return selectors.status_of(volume, self._operation(volume))

    def get_device(self, volume: Volume) -> str:
        return f"/dev/disk/by-id/virtio-{volume.serial}"

    @extend_schema_field(VolumeActionsOut)
    def get_actions(self, volume: Volume) -> dict[str, dict[str, Any]]:
        has_snapshots = volume.pk in self.context["with_snapshots"]
        found = selectors.actions(self.context["actor"], volume, self._operation(volume), has_snapshots=has_snapshots)
        return {str(name): {"allowed": verdict.allowed, "reason": verdict.reason} for name, verdict in found.items()}

    @extend_schema_field(OperationBrief(allow_null=True))
    def get_operation(self, volume: Volume) -> dict[str, Any] | None:
        operation = self._operation(volume)
        return dict(OperationBrief(operation).data) if operation else None

    def get_pool(self, volume: Volume) -> str | None:
        pool = volume.layer.pool
        return f"{pool.host.name}/{pool.name}" if self.context["actor"].can(Permission.HOST_READ) else None

    def _operation(self, volume: Volume) -> Operation | None:
        found: Operation | None = self.context["operations"].get(volume.pk)
        return found


class VolumeAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    volume = VolumeOut()


def volume_data(actor: Actor, volume: Volume) -> dict[str, Any]:
    return dict(VolumeOut(volume, context=_context(actor, [volume])).data)


def _context(actor: Actor, page: list[Volume]) -> dict[str, Any]:
    return {
        "actor": actor,
        "operations": selectors.busy_with(page),
        "with_snapshots": selectors.with_snapshots(page),
    }


class Volumes(ApiView):
    permissions = {"GET": Permission.VM_READ, "POST": Permission.VM_WRITE}

    @extend_schema(parameters=[VolumeFilter], responses=VolumeOut(many=True))
    def get(self, request: Request) -> Response:
        """Your volumes, newest first; those that machines start from are among them."""
        wanted = self.query(VolumeFilter)
        wanted["tenant"] = tenant_in(self.actor, wanted.get("tenant"), Permission.VM_READ)
        page = self.page(selectors.volumes(self.actor, **wanted))
        return self.listed(VolumeOut(page, many=True, context=_context(self.actor, page)).data)

    @extend_schema(request=VolumeIn, responses={202: VolumeAcceptedOut})
    def post(self, request: Request) -> Response:
        """Create an empty volume, and attach it where a machine is named."""
        self.actor.require_somewhere(Permission.VM_WRITE)
        wanted = volumes.CreateVolume(**self.body(VolumeIn))
        volume, operation = volumes.create_volume(actor=self.actor, request=wanted)
        return self.accepted(operation, volume=volume_data(self.actor, volume))


class VolumeDetail(ApiView):
    permissions = {"GET": Permission.VM_READ, "PATCH": Permission.VM_WRITE, "DELETE": Permission.VM_WRITE}

    @extend_schema(responses=VolumeOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One volume."""
        return Response(volume_data(self.actor, selectors.volume(self.actor, id)))

    @extend_schema(request=VolumeChange, responses=VolumeOut)
    def patch(self, request: Request, id: UUID) -> Response:
        """Rename it."""
        volume = selectors.volume(self.actor, id, Permission.VM_WRITE)
        volumes.rename_volume(actor=self.actor, volume=volume, **self.body(VolumeChange))
        return Response(volume_data(self.actor, volume))

    @extend_schema(responses={202: VolumeAcceptedOut})
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete it for good. It must not be attached."""
        volume = selectors.volume(self.actor, id, Permission.VM_WRITE)
        return _accepted(self, volume, volumes.delete_volume(actor=self.actor, volume=volume))


class VolumeAttach(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=AttachIn, responses={202: VolumeAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Attach it to a machine on the host where it lies, whether that runs or not."""
        volume = selectors.volume(self.actor, id, Permission.VM_WRITE)
        return _accepted(self, volume, volumes.attach(actor=self.actor, volume=volume, **self.body(AttachIn)))


class VolumeDetach(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=None, responses={202: VolumeAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Detach it. A guest that runs must let go of it: unmount it inside first."""
        volume = selectors.volume(self.actor, id, Permission.VM_WRITE)
        self.body()
        return _accepted(self, volume, volumes.detach(actor=self.actor, volume=volume))


class VolumeGrow(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=GrowIn, responses={202: VolumeAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Make it larger; a guest that runs sees it at once. Disks never shrink."""
        volume = selectors.volume(self.actor, id, Permission.VM_WRITE)
        return _accepted(self, volume, volume_change.grow(actor=self.actor, volume=volume, **self.body(GrowIn)))


class VolumeMove(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=MoveIn, responses={202: VolumeAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Move it to storage of another class on its host; a guest that runs goes on meanwhile."""
        volume = selectors.volume(self.actor, id, Permission.VM_WRITE)
        return _accepted(self, volume, volume_change.move(actor=self.actor, volume=volume, **self.body(MoveIn)))


def _accepted(view: ApiView, volume: Volume, operation: Operation) -> Response:
    return view.accepted(operation, volume=volume_data(view.actor, volume))
