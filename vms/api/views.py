"""Virtual machines."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from portal.accounts.models import ApiToken
from portal.api.operations import OperationOut
from portal.api.problems import of_refusal
from portal.api.references import tenant_in
from portal.api.views import ApiView
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import selectors
from vms.api.catalogue import ImageAcceptedOut, image_data
from vms.api.serializers import (
    AcceptedOut,
    BulkIn,
    BulkOut,
    CloneIn,
    ConsoleIn,
    ConsoleOut,
    DeleteFilter,
    ExtendIn,
    MigrateIn,
    PrecheckOut,
    PublishIn,
    ResizeIn,
    RestoreIn,
    UserDataOut,
    VMChange,
    VMFilter,
    VMIn,
    VMOut,
)
from vms.console import bridge
from vms.migration import precheck
from vms.models import VM
from vms.services import bulk, change, console, leases
from vms.services.clone import clone_vm
from vms.services.create import CreateVM, create_vm
from vms.services.delete import delete_vm, purge_vm, restore_vm
from vms.services.look import look_at
from vms.services.migrate import migrate_vm
from vms.services.power import change_power
from vms.services.publish import publish_vm
from vms.states import Action


def vm_data(actor: Actor, vm: VM, operation: Operation | None = None) -> dict[str, Any]:
    """A machine as it is now; `operation` is what was just begun on it."""
    operations = {vm.pk: operation} if operation else active_on_each([vm.pk])
    return dict(VMOut(vm, context={"actor": actor, "operations": operations}).data)


class VMs(ApiView):
    permissions = {"GET": Permission.VM_READ, "POST": Permission.VM_WRITE}

    @extend_schema(parameters=[VMFilter], responses=VMOut(many=True))
    def get(self, request: Request) -> Response:
        """Your virtual machines, newest first."""
        wanted = self.query(VMFilter)
        wanted["tenant"] = tenant_in(self.actor, wanted.get("tenant"), Permission.VM_READ)
        wanted["binned"] = wanted.pop("bin") == "true"
        page = self.page(selectors.vms(self.actor, **wanted))
        context = {"actor": self.actor, "operations": active_on_each(vm.pk for vm in page)}
        return self.listed(VMOut(page, many=True, context=context).data)

    @extend_schema(request=VMIn, responses={202: AcceptedOut})
    def post(self, request: Request) -> Response:
        """Create a virtual machine."""
        self.actor.require_somewhere(Permission.VM_WRITE)
        vm, operation = create_vm(actor=self.actor, request=CreateVM(**self.body(VMIn)))
        return self.accepted(operation, vm=vm_data(self.actor, vm, operation))


class VMDetail(ApiView):
    permissions = {"GET": Permission.VM_READ, "PATCH": Permission.VM_WRITE, "DELETE": Permission.VM_WRITE}

    @extend_schema(responses=VMOut)
    def get(self, request: Request, id: UUID) -> Response:
        """One virtual machine."""
        return Response(vm_data(self.actor, look_at(self.actor, id)))

    @extend_schema(request=VMChange, responses=VMOut)
    @transaction.atomic
    def patch(self, request: Request, id: UUID) -> Response:
        """Rename it, set and clear its protection against deletion, or its expiry date."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        wanted = self.body(VMChange)
        if "name" in wanted:
            change.rename(actor=self.actor, vm=vm, name=wanted["name"])
        if "protected" in wanted:
            change.protect(actor=self.actor, vm=vm, protected=wanted["protected"])
        if "expires_at" in wanted:
            leases.change(actor=self.actor, vm=vm, expires_at=wanted["expires_at"])
        return Response(vm_data(self.actor, vm))

    @extend_schema(parameters=[DeleteFilter], responses={202: AcceptedOut})
    def delete(self, request: Request, id: UUID) -> Response:
        """Move it to the bin, off, with its disks and addresses; it counts towards the quota until `purge_at`.

        Its data volumes are detached when it goes for good.
        """
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        operation = delete_vm(actor=self.actor, vm=vm, purge=self.query(DeleteFilter)["purge"] == "true")
        return self.accepted(operation, vm=vm_data(self.actor, vm, operation))


class VMPower(ApiView):
    permissions = {"POST": Permission.VM_WRITE}
    action = Action.START

    @extend_schema(request=None, responses={202: AcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Take this action, as far as `actions` of the machine allows it."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        self.body()
        operation = change_power(actor=self.actor, vm=vm, action=self.action)
        return self.accepted(operation, vm=vm_data(self.actor, vm, operation))


class VMRestore(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=RestoreIn, responses={202: AcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Bring it back from the bin as it was, on or off as it was."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        operation = restore_vm(actor=self.actor, vm=vm, **self.body(RestoreIn))
        return self.accepted(operation, vm=vm_data(self.actor, vm, operation))


class VMPurge(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=None, responses={202: AcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Delete it for good, out of the bin."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        self.body()
        operation = purge_vm(actor=self.actor, vm=vm)
        return self.accepted(operation, vm=vm_data(self.actor, vm, operation))


class VMExtend(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=ExtendIn, responses=VMOut)
    def post(self, request: Request, id: UUID) -> Response:
        """Let its lease end later, and begin anew: what was stopped at its end can be started again."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        leases.extend(actor=self.actor, vm=vm, **self.body(ExtendIn))
        return Response(vm_data(self.actor, vm))


class VMResize(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=ResizeIn, responses={202: AcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Give it another flavor, while it is stopped. Disks never shrink."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        operation = change.resize(actor=self.actor, vm=vm, **self.body(ResizeIn))
        return self.accepted(operation, vm=vm_data(self.actor, vm, operation))


class VMClone(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=CloneIn, responses={202: AcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Make another machine with the data of its disks; the answer's `vm` is the new one."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        new, operation = clone_vm(actor=self.actor, vm=vm, **self.body(CloneIn))
        return self.accepted(operation, vm=vm_data(self.actor, new, operation))


class VMMigrate(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    @extend_schema(request=MigrateIn, responses={202: AcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Move it to another host of its cluster, while it runs; its data goes along where that is needed."""
        vm = selectors.vm(self.actor, id, Permission.HOST_WRITE)
        operation = migrate_vm(actor=self.actor, vm=vm, **self.body(MigrateIn))
        return self.accepted(operation, vm=vm_data(self.actor, vm, operation))


class VMMigration(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(responses=PrecheckOut)
    def get(self, request: Request, id: UUID) -> Response:
        """Where it could be moved now, and what is in the way."""
        vm = selectors.vm(self.actor, id)
        self.actor.require(Permission.HOST_READ)
        return Response(PrecheckOut(precheck(vm)).data)


class VMPublish(ApiView):
    permissions = {"POST": Permission.IMAGE_WRITE}

    @extend_schema(request=PublishIn, responses={202: ImageAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """Make an image of its disk as it is at this moment, running or stopped: private, and of the same tenant."""
        vm = selectors.vm(self.actor, id, Permission.VM_WRITE)
        image, operation = publish_vm(actor=self.actor, vm=vm, **self.body(PublishIn))
        return self.accepted(operation, image=image_data(self.actor, image))


class VMBulk(ApiView):
    permissions = {"POST": Permission.VM_WRITE}

    @extend_schema(request=BulkIn, responses=BulkOut)
    def post(self, request: Request) -> Response:
        """One action on many machines; each has its own result."""
        self.actor.require_somewhere(Permission.VM_WRITE)
        wanted = self.body(BulkIn)
        outcomes = bulk.act_on_each(actor=self.actor, action=Action(wanted["action"]), vm_ids=wanted["vms"])
        return Response({"results": [_result(self.actor, outcome) for outcome in outcomes]})


class VMConsole(ApiView):
    permissions = {"POST": Permission.VM_CONSOLE}
    secrets = ("ticket", "url")

    @extend_schema(request=ConsoleIn, responses={201: ConsoleOut})
    def post(self, request: Request, id: UUID) -> Response:
        """A ticket that opens its display or serial console once, within 30 seconds."""
        vm = selectors.vm(self.actor, id, Permission.VM_CONSOLE)
        session_key = "" if request.auth else request._request.session.session_key or ""
        token = request.auth if isinstance(request.auth, ApiToken) else None
        wanted = {**self.body(ConsoleIn), "session_key": session_key, "token": token}
        ticket = console.issue_ticket(actor=self.actor, vm=vm, **wanted)
        expires_at = timezone.now() + console.LIFETIME
        return self.created({"ticket": ticket, "url": bridge.address_of(ticket), "expires_at": expires_at})


class VMUserData(ApiView):
    permissions = {"GET": Permission.VM_SECRETS}

    @extend_schema(responses=UserDataOut)
    def get(self, request: Request, id: UUID) -> Response:
        """What it was given for its first boot; it may hold secrets."""
        return Response({"user_data": selectors.vm(self.actor, id, Permission.VM_SECRETS).user_data})


def _result(actor: Actor, outcome: bulk.Outcome) -> dict[str, Any]:
    operation, refusal = outcome.operation, outcome.refusal
    return {
        "vm": outcome.vm_id,
        "status": refusal.status if refusal else 202,
        "operation": OperationOut(operation, context={"actor": actor}).data if operation else None,
        "error": of_refusal(refusal) if refusal else None,
    }
