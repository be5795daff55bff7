"""Delete: into the bin, off, with all that it has. It goes forward only, for an owner's no is not waited for.

Up to version 2 this kind was what vm.purge is now; journals of these versions are gone on with to that end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms.models import VM, Lifecycle
from vms.workflows import create, purge
from vms.workflows.common import machine, observe_now

FIRST_WITH_A_BIN = 3


def cut_power(context: StepContext) -> Output:
    if not machine(context.operation).host.has_failed:  # else it is off
        create.cut_power(context)
        observe_now(context)
    return None


def lay_into_bin(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """Its name is free from now on, and its time begins, however long its host was waited for."""
    if operation.version < FIRST_WITH_A_BIN:
        purge.forget(operation, outputs)
        return
    now = timezone.now()
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    asked = rows.values_list("purge_at", flat=True).get() or now
    rows.update(binned_at=now, purge_at=max(asked, now + timedelta(hours=settings.BIN_HOURS)))


def keep(operation: Operation) -> None:
    """It is as it was, but for its power."""
    if operation.version < FIRST_WITH_A_BIN:
        purge.keep(operation)
        return
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    lifecycle = Lifecycle.ERROR if rows.get().error else Lifecycle.READY
    rows.update(lifecycle=lifecycle, purge_at=None)


DELETE = register(
    Workflow(
        kind="vm.delete",
        doing="deleting",
        done="moved to the bin",
        version=FIRST_WITH_A_BIN,
        continues=frozenset({1, 2}),
        permission=Permission.VM_WRITE,
        steps=(Step("power", "Cutting the power", cut_power),),
        former=purge.REMOVAL,
        succeeded=lay_into_bin,
        unwound=keep,
        translate=translate,
        deadline=timedelta(days=30),
        cancellable=False,
    )
)
