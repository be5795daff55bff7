"""Backups of machines."""

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
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import backup_selectors, selectors
from vms.api.serializers import AcceptedOut, VerdictOut
from vms.api.views import vm_data
from vms.backup_selectors import actions, facts_of
from vms.backup_states import BackupAction
from vms.models import Backup, BackupKind, BackupState
from vms.services import backups as services


class BackupIn(Input):
    target = Text(max_length=40, required=False, allow_null=True, help_text="Slug; the default one if left out.")
    full = Boolean(required=False, default=False, help_text="Of everything, also where what changed would do.")


class RestoreIn(Input):
    name = Text(
        max_length=63, required=False, help_text="Of a new machine; left out, its own machine gets the disks of then."
    )
    safety = Boolean(
        required=False,
        default=True,
        help_text="Of its own machine what it is now is kept as a snapshot; false: what was written since is lost.",
    )


class BackupFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")
    vm = Id(required=False, help_text="Of this machine, also when it is gone.")


class BackupDiskOut(serializers.Serializer[Any]):
    volume = serializers.UUIDField(source="volume_id")
    target = serializers.CharField()
    size_gib = serializers.IntegerField()
    file_bytes = serializers.IntegerField(source="size_bytes")
    sha256 = serializers.CharField(help_text="Of the file; empty until it is complete.")


class BackupActionsOut(serializers.Serializer[Any]):
    """What you may do with it now, and why not."""

    def get_fields(self) -> dict[str, Any]:
        return {str(action): VerdictOut() for action in BackupAction}


class BackupOut(serializers.Serializer[Any]):
    """All disks of a machine as they were; an incremental one needs its `parent`."""

    # Context: `actor`, and `operations`: what is under way, by id of backup.
    id = serializers.UUIDField()
    tenant = serializers.CharField(source="tenant.slug")
    vm = serializers.UUIDField(source="vm_id", allow_null=True, help_text="Null where the machine is gone.")
    vm_name = serializers.CharField(help_text="As it was called then.")
    target = serializers.CharField(source="target.slug")
    status = serializers.ChoiceField(choices=BackupState.values, source="state")
    kind = serializers.ChoiceField(choices=BackupKind.values)
    parent = serializers.UUIDField(  # type: ignore[assignment]
        source="parent_id", allow_null=True, help_text="The one it has the changes since."
    )
    why_full = serializers.CharField(help_text="Why it is full although there was one before; mostly empty.")
    consistency = serializers.CharField(
        help_text="frozen: the guest's file systems were; crash: as after a power cut; off: it was off."
    )
    size_mib = serializers.IntegerField(help_text="What it takes of the quota.")
    bytes_read = serializers.IntegerField(help_text="Of the machine's disks.")
    disks = BackupDiskOut(many=True)
    taken_at = serializers.DateTimeField(allow_null=True)
    verified_at = serializers.DateTimeField(allow_null=True)
    damage = serializers.CharField(help_text="What the last verification found wrong; empty where nothing.")
    actions = serializers.SerializerMethodField()
    operation = serializers.SerializerMethodField(help_text="What is under way, or null.")
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(BackupActionsOut)
    def get_actions(self, backup: Backup) -> dict[str, dict[str, Any]]:
        found = actions(self.context["actor"], backup, facts_of(backup, self._operation(backup)))
        return {str(name): {"allowed": each.allowed, "reason": each.reason} for name, each in found.items()}

    @extend_schema_field(OperationBrief(allow_null=True))
    def get_operation(self, backup: Backup) -> dict[str, Any] | None:
        operation = self._operation(backup)
        return dict(OperationBrief(operation).data) if operation else None

    def _operation(self, backup: Backup) -> Operation | None:
        found: Operation | None = self.context["operations"].get(backup.pk)
        return found


class BackupAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    backup = BackupOut()


def backup_data(actor: Actor, backup: Backup, operation: Operation | None = None) -> dict[str, Any]:
    """A backup as it is now; `operation` is what was just begun on it."""
    operations = {backup.pk: operation} if operation else backup_selectors.busy_with([backup])
    return dict(BackupOut(backup, context={"actor": actor, "operations": operations}).data)


class Backups(ApiView):
    permissions = {"GET": Permission.VM_READ}

    @extend_schema(parameters=[BackupFilter], responses=BackupOut(many=True))
    def get(self, request: Request) -> Response:
        """Your backups, newest first, also of machines that are gone."""
        wanted = self.query(BackupFilter)
        tenant = tenant_in(self.actor, wanted.get("tenant"), Permission.VM_READ)
        page = self.page(backup_selectors.backups(self.actor, tenant=tenant, source_id=wanted.get("vm")))
        context = {"actor": self.actor, "operations": backup_selectors.busy_with(page)}
        return self.listed(BackupOut(page, many=True, context=context).data)


class VMBackups(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=BackupIn, responses={202: BackupAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Back it up as it is now: all disks, or what changed since the last backup where that is known."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        backup, operation = services.back_up(actor=self.actor, vm=vm, **self.body(BackupIn))
        return self.accepted(operation, backup=backup_data(self.actor, backup, operation))


class BackupDetail(ApiView):
    permissions = {"GET": Permission.VM_READ, "DELETE": Permission.VM_WRITE}

    @extend_schema(responses=BackupOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One backup."""
        return Response(backup_data(self.actor, backup_selectors.backup(self.actor, id)))

    @extend_schema(responses={202: BackupAcceptedOut})
    def delete(self, request: Request, id: UUID) -> Response:
        """Delete it for good. Later ones that stand on it take over what they need of it first."""
        backup = backup_selectors.backup(self.actor, id, Permission.VM_WRITE)
        operation = services.delete(actor=self.actor, backup=backup)
        return self.accepted(operation, backup=backup_data(self.actor, backup, operation))


class BackupVerify(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=None, responses={202: BackupAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Read every file of it, and of those it stands on, and compare them with what was written."""
        backup = backup_selectors.backup(self.actor, id, Permission.VM_WRITE)
        self.body()
        operation = services.verify(actor=self.actor, backup=backup)
        return self.accepted(operation, backup=backup_data(self.actor, backup, operation))


class BackupRestore(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=RestoreIn, responses={202: AcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """To a new machine of that `name`; without one its own machine gets the disks of then, and is off meanwhile.

        What it was until then is kept as a snapshot, unless `safety` is false.
        """
        backup = backup_selectors.backup(self.actor, id, Permission.VM_WRITE)
        wanted = self.body(RestoreIn)
        if "name" in wanted:
            vm, operation = services.restore_as_new(actor=self.actor, backup=backup, name=wanted["name"])
        else:
            vm, operation = services.restore(actor=self.actor, backup=backup, safety=wanted["safety"])
        return self.accepted(operation, vm=vm_data(self.actor, vm, operation))
