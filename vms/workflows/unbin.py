"""Restore: out of the bin, as it was, and on or off as it was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Step, Workflow, register
from portal.tenancy.roles import Permission
from vms.models import VM, Lifecycle
from vms.workflows import create, repair

TIME_TO_TRY_AGAIN = timedelta(hours=1)


def finish(operation: Operation, outputs: Mapping[str, Any]) -> None:
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    rows.update(lifecycle=Lifecycle.ERROR if rows.get().error else Lifecycle.READY)


def lay_back(operation: Operation) -> None:
    """Into the bin, for as long as it would have lain there, and long enough to try again."""
    binned_at, purge_at = (datetime.fromisoformat(operation.params[name]) for name in ("binned_at", "purge_at"))
    rows = VM.objects.unscoped("workflow").filter(pk=operation.target_id)
    rows.update(
        lifecycle=Lifecycle.DELETING,
        name=operation.params["name"],
        binned_at=binned_at,
        purge_at=max(purge_at, timezone.now() + TIME_TO_TRY_AGAIN),
    )


RESTORE = register(
    Workflow(
        kind="vm.restore",
        doing="restoring",
        done="restored from the bin",
        permission=Permission.VM_WRITE,
        steps=(
            Step("seed", "Looking for the first-boot settings", repair.make_missing_seed),
            Step("address", "Reserving the address", create.reserve_address),
            Step("define", "Defining the machine", create.define),
            Step(
                "power",
                "Bringing it to the power state that it had",
                repair.bring_power,
                undo=create.cut_power,
                weight=3,
            ),
        ),
        succeeded=finish,
        unwound=lay_back,
        translate=translate,
    )
)
