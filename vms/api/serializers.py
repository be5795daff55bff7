"""Machines as the API takes and shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from hosts.service_class import ServiceClass
from portal.api.operations import OperationBrief, OperationOut
from portal.api.problems import ProblemSerializer
from portal.api.serializers import Boolean, Choice, Id, Input, Moment, Text
from portal.operations.models import Operation
from portal.tenancy.roles import Permission
from vms import selectors
from vms.lease import Stage
from vms.migration import Target
from vms.models import VM, Lifecycle
from vms.services import bulk, clone, console, create, groups
from vms.states import Action


class VMIn(Input):
    name = Text(max_length=63, help_text="A DNS label; the machine's host name as well.")
    image = Text(max_length=63, help_text="Slug or id.")
    flavor = Text(max_length=63, help_text="Slug or id.")
    tenant = Text(max_length=63, required=False, allow_null=True, help_text="Slug or id; your only one if left out.")
    ssh_keys = serializers.ListField(
        child=Text(max_length=8192),
        max_length=create.MOST_SSH_KEYS,
        required=False,
        help_text="Public keys as text, or the ids of keys of yours.",
    )
    user_data = Text(
        max_length=create.LONGEST_USER_DATA, required=False, allow_blank=True, help_text="For cloud-init, as it is."
    )
    network = Text(max_length=63, required=False, allow_null=True, help_text='"default" is the only one yet.')
    protected = Boolean(required=False, default=False, help_text="Against deletion.")
    expires_at = Moment(
        required=False,
        allow_null=True,
        help_text="At least a day ahead. Left out: as the tenant's policy has it, the usual date or none.",
    )
    storage_class = Text(
        max_length=63, required=False, allow_null=True, help_text="Slug; the default storage of its host if left out."
    )
    groups = serializers.ListField(
        child=Text(max_length=63),
        max_length=groups.MOST_OF_A_MACHINE,
        required=False,
        help_text="Names or ids of affinity groups.",
    )


class VMChange(Input):
    name = Text(max_length=63, required=False)
    protected = Boolean(required=False)
    expires_at = Moment(required=False, allow_null=True, help_text="At least a day ahead; null: it has no expiry date.")


class ExtendIn(Input):
    expires_at = Moment(required=False, help_text="Left out: as far ahead as is usual for the tenant.")


class VMFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")
    status = Choice(selectors.STATUSES, required=False)
    search = Text(max_length=63, required=False, help_text="Part of a name, or the beginning of an address.")
    bin = Choice(("true", "false"), required=False, default="false", help_text="Those in the bin instead.")


class DeleteFilter(Input):
    purge = Choice(("true", "false"), required=False, default="false", help_text="At once and for good: no bin.")


class RestoreIn(Input):
    name = Text(max_length=63, required=False, help_text="Another name, where its own was taken meanwhile.")


class ResizeIn(Input):
    flavor = Text(max_length=63, help_text="Slug or id.")


class CloneIn(Input):
    name = Text(max_length=63, help_text="Of the new machine: a DNS label, and its host name as well.")
    mode = Choice(
        clone.MODES,
        required=False,
        default="full",
        help_text="`full` copies all data; `linked` takes seconds, and shares with the source what neither writes.",
    )


class PublishIn(Input):
    name = Text(max_length=100, help_text="Of the image, for people.")
    slug = Text(max_length=63, required=False, help_text="A DNS label; made from the name if left out.")
    description = Text(max_length=300, required=False, allow_blank=True)


class ConsoleIn(Input):
    kind = Choice(console.KINDS)


class ConsoleOut(serializers.Serializer[Any]):
    ticket = serializers.CharField(allow_null=True, help_text="Good once; null where the answer is replayed.")
    url = serializers.CharField(allow_null=True, help_text="The WebSocket's address; send an Origin of this site.")
    expires_at = serializers.DateTimeField()


class MigrateIn(Input):
    host = Text(max_length=63, required=False, help_text="Name or id; left out: the one that placement chooses.")


class MigrationTargetOut(serializers.Serializer[Any]):
    host = serializers.CharField(source="host.name")
    possible = serializers.SerializerMethodField()
    obstacles = serializers.ListField(child=serializers.CharField(), help_text="Why not, for people.")
    copied_gib = serializers.IntegerField(help_text="The size of the disks whose data would go along.")

    def get_possible(self, target: Target) -> bool:
        return not target.obstacles


class PrecheckOut(serializers.Serializer[Any]):
    """Where it could be moved now. It runs on while it moves, where it is live."""

    live = serializers.BooleanField(source="is_live")
    targets = MigrationTargetOut(many=True, help_text="The other hosts of its cluster, those that would do first.")


class UserDataOut(serializers.Serializer[Any]):
    user_data = serializers.CharField()


class BulkIn(Input):
    action = Choice([str(action) for action in bulk.ACTIONS])
    vms = serializers.ListField(child=Id(), min_length=1, max_length=100)


class BulkResultOut(serializers.Serializer[Any]):
    vm = serializers.UUIDField()
    status = serializers.IntegerField(help_text="As if it had been asked for alone.")
    operation = OperationOut(allow_null=True)
    error = ProblemSerializer(allow_null=True)


class BulkOut(serializers.Serializer[Any]):
    results = BulkResultOut(many=True)


class VerdictOut(serializers.Serializer[Any]):
    allowed = serializers.BooleanField()
    reason = serializers.CharField(help_text="Why not, for people; empty where it is allowed.")


class ActionsOut(serializers.Serializer[Any]):
    """What you may do with it now, and why not."""

    def get_fields(self) -> dict[str, Any]:
        return {str(action): VerdictOut() for action in Action}


class NicOut(serializers.Serializer[Any]):
    mac = serializers.CharField()
    ip = serializers.CharField()
    seen_at = serializers.DateTimeField(allow_null=True, help_text="When the guest last took the address.")


class LeaseOut(serializers.Serializer[Any]):
    """How the lease goes on. It is over from `ended` on: the machine is kept off, and goes to the bin after `kept`."""

    stage = serializers.ChoiceField(choices=[str(stage) for stage in Stage])
    since = serializers.DateTimeField(
        allow_null=True, help_text="When that began; for `running`, when its date was set."
    )


class VMOut(serializers.Serializer[Any]):
    """A virtual machine."""

    # Context: `actor`, and `operations`: what is under way, by id of machine.
    id = serializers.UUIDField()
    name = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug")
    status = serializers.ChoiceField(choices=selectors.STATUSES)
    error = serializers.CharField(source="problem", help_text="What went wrong, for people; empty where nothing did.")
    flavor = serializers.CharField(source="flavor.slug")
    image = serializers.CharField(source="image.slug")
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()
    service_class = serializers.ChoiceField(
        choices=[str(each) for each in ServiceClass], help_text="What it is promised: see its guarantee."
    )
    addresses = serializers.SerializerMethodField()
    nics = NicOut(many=True)
    ssh = serializers.SerializerMethodField(help_text="The command that logs in, or null.")
    actions = serializers.SerializerMethodField()
    operation = serializers.SerializerMethodField(help_text="What is under way, or null.")
    protected = serializers.BooleanField(source="is_protected")
    host = serializers.SerializerMethodField(help_text="For the provider's staff; null for everybody else.")
    purge_at = serializers.DateTimeField(
        allow_null=True, help_text="Until then it lies in the bin and can be restored; null where it does not."
    )
    expires_at = serializers.DateTimeField(allow_null=True, help_text="When its lease ends; null where it has none.")
    lease = LeaseOut(allow_null=True)
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    observed_at = serializers.SerializerMethodField(help_text="When it was last seen; null while it is being built.")
    observed_since = serializers.DateTimeField(allow_null=True, help_text="Since when it is in this state.")

    def get_addresses(self, vm: VM) -> list[str]:
        return [nic.ip for nic in vm.nics.all()]

    def get_ssh(self, vm: VM) -> str | None:
        addresses = self.get_addresses(vm)
        return vm.image.ssh(addresses[0]) if addresses else None

    @extend_schema_field(ActionsOut)
    def get_actions(self, vm: VM) -> dict[str, dict[str, Any]]:
        verdicts = selectors.actions(self.context["actor"], vm, self._operation(vm))
        return {str(name): {"allowed": found.allowed, "reason": found.reason} for name, found in verdicts.items()}

    @extend_schema_field(OperationBrief(allow_null=True))
    def get_operation(self, vm: VM) -> dict[str, Any] | None:
        operation = self._operation(vm)
        return dict(OperationBrief(operation).data) if operation else None

    def get_observed_at(self, vm: VM) -> datetime | None:
        """A host that was seen before the machine was there has not seen the machine."""
        seen_at = vm.host.seen_at
        is_there = vm.lifecycle != Lifecycle.BUILDING and seen_at is not None and seen_at >= vm.created_at
        return seen_at if is_there else None

    def get_host(self, vm: VM) -> str | None:
        return vm.host.name if self.context["actor"].can(Permission.HOST_READ) else None

    def _operation(self, vm: VM) -> Operation | None:
        found: Operation | None = self.context["operations"].get(vm.pk)
        return found


class AcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    vm = VMOut()
