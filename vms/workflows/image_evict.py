"""Evict: a copy of an image leaves its pool. Nobody stands on it, by the database and by what the host has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hosts.connections import fenced_driver
from hosts.driver.base import Driver
from hosts.errors import translate
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.tenancy.roles import Permission
from vms import copies
from vms.models import ImageCopy
from vms.workflows.images import stands_on


def remove(context: StepContext) -> Output:
    copy = ImageCopy.objects.select_related("pool__host").get(pk=context.operation.target_id)
    remove_from_host(fenced_driver(copy.pool.host, context.check), copy)
    return None


def remove_from_host(driver: Driver, copy: ImageCopy) -> None:
    """The caller has begun its eviction. StepFailed ("in_use") where something stands on it that no row tells of."""
    if stands_on(driver, copy):
        raise StepFailed("in_use", "Something on the host stands on this file; it stays.")
    driver.delete_volume(copy.pool.name, copy.file_name)


def forget(operation: Operation, outputs: Mapping[str, Any]) -> None:
    copies.forget(operation.target_id)


def keep(operation: Operation) -> None:
    copies.end_eviction(operation.target_id)


EVICT = register(
    Workflow(
        kind="image.evict",
        doing="being removed from its host",
        done="removed from its host",
        permission=Permission.HOST_WRITE,
        steps=(Step("remove", "Removing the file from the pool", remove),),
        succeeded=forget,
        unwound=keep,
        translate=translate,
    )
)
