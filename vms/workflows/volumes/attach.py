"""Attach and detach. The definition and the guest that runs are told one after the other; each step looks first.

A guest may take its time to let go of a disk, or never do it: it is asked again at each look, and no worker is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import (
    LookAgain,
    Output,
    Step,
    StepContext,
    StepFailed,
    TransientError,
    Workflow,
    register,
)
from portal.tenancy.roles import Permission
from vms.design import domain_spec
from vms.workflows.volumes.common import disk_of, domain_without, driver_of, rows_of, volume_of

LOOK_SECONDS = 7  # what a look takes, with the pause behind it
LOOK_AGAIN_SECONDS = 3.0
LOOKS = 8


def define_with(context: StepContext) -> Output:
    volume = volume_of(context.operation)
    if volume.vm is not None:
        driver = driver_of(context, volume)
        driver.refresh_pool(volume.layer.pool.name)  # the host that made it may have been another one
        driver.define(domain_spec(volume.vm, volume.vm.host, context.fence))
    return None


def define_without(context: StepContext) -> None:
    volume = volume_of(context.operation)
    if volume.vm is not None:
        driver_of(context, volume).define(domain_without(context, volume.vm, volume))


def plug_in(context: StepContext) -> Output:
    volume = volume_of(context.operation)
    if volume.vm is not None:
        driver_of(context, volume).attach_disk(volume.vm.pk, disk_of(volume))
    return None


def plug_out(context: StepContext) -> None:
    """An undo, which is tried again for as long as it takes."""
    if not _let_go(context):
        raise TransientError("the guest to let go of the disk")


def _let_go(context: StepContext) -> bool:
    volume = volume_of(context.operation)
    return volume.vm is None or driver_of(context, volume).detach_disk(volume.vm.pk, disk_of(volume))


def wait_until_let_go(context: StepContext) -> Output:
    if _let_go(context):
        return None
    looks = context.kept.get("looks", 0) + 1
    if looks >= LOOKS:
        raise StepFailed(
            "guest_kept_disk",
            f"The guest did not let go of the disk within {LOOKS * LOOK_SECONDS} s. Unmount it inside and try again, "
            "or stop the machine first.",
        )
    words = f"the guest to let go of the disk ({looks * LOOK_SECONDS} s of {LOOKS * LOOK_SECONDS} s)"
    context.progress(looks / LOOKS, f"Waiting for {words}")
    raise LookAgain(LOOK_AGAIN_SECONDS, words, {"looks": looks})


def leave_out(context: StepContext) -> Output:
    define_without(context)
    return None


def put_back(context: StepContext) -> None:
    plug_in(context)


def put_back_in(context: StepContext) -> None:
    define_with(context)


def stay_attached(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """So it was from the moment in which it was accepted."""


def set_free(operation: Operation) -> None:
    rows_of(operation.target_id).update(vm=None, target="")


def detached(operation: Operation, outputs: Mapping[str, Any]) -> None:
    set_free(operation)


def keep(operation: Operation) -> None:
    """It stays attached; a guest that lets go of it later has it again when it is started."""


ATTACH = register(
    Workflow(
        kind="volume.attach",
        doing="attaching",
        done="attached",
        permission=Permission.VM_WRITE,
        steps=(
            Step("define", "Writing it into the machine's definition", define_with, undo=define_without),
            Step("attach", "Giving it to the guest", plug_in, undo=plug_out),
        ),
        succeeded=stay_attached,
        unwound=set_free,
        translate=translate,
    )
)
DETACH = register(
    Workflow(
        kind="volume.detach",
        doing="detaching",
        done="detached",
        permission=Permission.VM_WRITE,
        steps=(
            Step("detach", "Asking the guest to let go of it", wait_until_let_go, undo=put_back, weight=3),
            Step("define", "Taking it out of the machine's definition", leave_out, undo=put_back_in),
        ),
        succeeded=detached,
        unwound=keep,
        translate=translate,
    )
)
