"""Verification: every file of a backup and of those it stands on is read and compared with what was written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission
from vms.workflows.backup_files import backup_of, check_files, reaching_host, target_driver


def check(context: StepContext) -> Output:
    backup = backup_of(context.operation.target_id)
    check_files(context, target_driver(context, backup.target, reaching_host(backup.target)), backup)
    return None


def noted(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """The step has noted at each backup what it found."""


def not_done(operation: Operation) -> None:
    """So has it where it found damage."""


VERIFY = register(
    Workflow(
        kind="backup.verify",
        doing="verifying",
        done="verified",
        permission=Permission.VM_WRITE,
        steps=(Step("files", "Reading every file", check),),
        succeeded=noted,
        unwound=not_done,
        translate=translate,
        deadline=timedelta(hours=12),
    )
)
