"""Snapshots of machines."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.operations import OperationBrief, OperationOut
from portal.api.references import tenant_in
from portal.api.serializers import Boolean, Id, Input, Text
from portal.api.views import ApiView
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors, snapshot_selectors
from vms.api.serializers import VerdictOut
from vms.models import Consistency, Snapshot, SnapshotState
from vms.services import snapshots
from vms.services.look import look_at
from vms.snapshot_states import SnapshotAction

SHOWN = [state for state in SnapshotState.values if state != SnapshotState.GONE]


class SnapshotIn(Input):
    name = Text(max_length=snapshots.LONGEST_NAME)
    description = Text(max_length=snapshots.LONGEST_DESCRIPTION, required=False, allow_blank=True)
    memory = Boolean(required=False, default=False, help_text="With the guest's memory; it stands still meanwhile.")


class SnapshotChange(Input):
    name = Text(max_length=snapshots.LONGEST_NAME, required=False)
    description = Text(max_length=snapshots.LONGEST_DESCRIPTION, required=False, allow_blank=True)


class RevertIn(Input):
    safety = Boolean(required=False, default=False, help_text="Keep what it is now as a snapshot first.")


class SnapshotFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")
    vm = Id(required=False)


class SnapshotActionsOut(serializers.Serializer[Any]):
    """What you may do with it now, and why not."""

    def get_fields(self) -> dict[str, Any]:
        return {str(action): VerdictOut() for action in SnapshotAction}


class SnapshotOut(serializers.Serializer[Any]):
    """A machine as it was at one moment; `parent` and `current` make them a tree."""

    # Context: `actor`, and `operations`: what is under way, by id of machine.
    id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug")
    vm = serializers.UUIDField(source="vm_id")
    parent = serializers.UUIDField(source="parent_id", allow_null=True)  # type: ignore[assignment]
    status = serializers.ChoiceField(choices=SHOWN, source="state")
    current = serializers.SerializerMethodField(help_text="Whether what the machine is now stands on it.")
    memory = serializers.BooleanField(source="has_memory")
    consistency = serializers.ChoiceField(
        choices=Consistency.choices, help_text="What the guest finds: off, memory, frozen by its agent, or as a crash."
    )
    safety = serializers.BooleanField(source="is_safety", help_text="Made by a revert, of what the machine was then.")
    size_gib = serializers.IntegerField(help_text="What it holds of the disk quota; at most so much while it is taken.")
    taken_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    actions = serializers.SerializerMethodField()
    operation = serializers.SerializerMethodField(help_text="What is under way with its machine, or null.")

    def get_current(self, snapshot: Snapshot) -> bool:
        return snapshot.vm.current_snapshot_id == snapshot.pk

    @extend_schema_field(SnapshotActionsOut)
    def get_actions(self, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
        verdicts = snapshot_selectors.actions(self.context["actor"], snapshot, snapshot.vm, self._operation(snapshot))
        return {str(name): {"allowed": found.allowed, "reason": found.reason} for name, found in verdicts.items()}

    @extend_schema_field(OperationBrief(allow_null=True))
    def get_operation(self, snapshot: Snapshot) -> dict[str, Any] | None:
        operation = self._operation(snapshot)
        return dict(OperationBrief(operation).data) if operation else None

    def _operation(self, snapshot: Snapshot) -> Operation | None:
        found: Operation | None = self.context["operations"].get(snapshot.vm_id)
        return found


class SnapshotAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    snapshot = SnapshotOut()


def _data(actor: Actor, snapshot: Snapshot, operation: Operation | None = None) -> dict[str, Any]:
    operations = {snapshot.vm_id: operation} if operation else active_on_each([snapshot.vm_id])
    return dict(SnapshotOut(snapshot, context={"actor": actor, "operations": operations}).data)


class Snapshots(ApiView):
    permissions = {"GET": Permission.VM_READ}

    @extend_schema(parameters=[SnapshotFilter], responses=SnapshotOut(many=True))
    def get(self, request: Request) -> Response:
        """Your snapshots, newest first."""
        wanted = self.query(SnapshotFilter)
        tenant = tenant_in(self.actor, wanted.get("tenant"), Permission.VM_READ)
        vm = selectors.vm(self.actor, wanted["vm"]) if "vm" in wanted else None
        page = self.page(snapshot_selectors.snapshots(self.actor, tenant=tenant, vm=vm))
        context = {"actor": self.actor, "operations": active_on_each({each.vm_id for each in page})}
        return self.listed(SnapshotOut(page, many=True, context=context).data)


class VMSnapshots(ApiView):
    permissions = {"GET": Permission.VM_READ, "POST": Permission.VM_WRITE}

    @extend_schema(responses=SnapshotOut(many=True))
    def get(self, request: Request, id: UUID) -> Response:
        """The snapshots of this machine, newest first; `parent` makes them a tree."""
        page = self.page(snapshot_selectors.snapshots(self.actor, vm=look_at(self.actor, id)))
        context = {"actor": self.actor, "operations": active_on_each([id])}
        return self.listed(SnapshotOut(page, many=True, context=context).data)

    @extend_schema(request=SnapshotIn, responses={202: SnapshotAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Take a snapshot of its disks, running or not, with its memory where `memory` says so."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        snapshot, operation = snapshots.take_snapshot(actor=self.actor, vm=vm, **self.body(SnapshotIn))
        return self.accepted(operation, snapshot=_data(self.actor, snapshot, operation))


class SnapshotDetail(ApiView):
    permissions = {"GET": Permission.VM_READ, "PATCH": Permission.VM_WRITE, "DELETE": Permission.VM_WRITE}

    @extend_schema(responses=SnapshotOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One snapshot."""
        return Response(_data(self.actor, snapshot_selectors.snapshot(self.actor, id)))

    @extend_schema(request=SnapshotChange, responses=SnapshotOut)
    def patch(self, request: Request, id: UUID) -> Response:
        """Change its name or description."""
        snapshot = snapshot_selectors.snapshot(self.actor, id, Permission.VM_WRITE)
        snapshots.describe(actor=self.actor, snapshot=snapshot, **self.body(SnapshotChange))
        return Response(_data(self.actor, snapshot))

    @extend_schema(responses={202: SnapshotAcceptedOut})
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete it. Its data is merged into what stands on it; the machine and its other snapshots stay."""
        snapshot = snapshot_selectors.snapshot(self.actor, id, Permission.VM_WRITE)
        operation = snapshots.delete_snapshot(actor=self.actor, snapshot=snapshot)
        return self.accepted(operation, snapshot=_data(self.actor, snapshot, operation))


class SnapshotRevert(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=RevertIn, responses={202: SnapshotAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Return its machine to it. A running machine is cut off, and starts again; what it is now is lost unless
        `safety` is true."""
        snapshot = snapshot_selectors.snapshot(self.actor, id, Permission.VM_WRITE)
        operation = snapshots.revert(actor=self.actor, snapshot=snapshot, **self.body(RevertIn))
        return self.accepted(operation, snapshot=_data(self.actor, snapshot, operation))
