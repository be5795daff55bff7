"""Looking at a backup target from every host: whether they see the same directory, and how much room it has."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from hosts.connections import fenced_driver
from hosts.driver import errors
from hosts.driver.base import Driver
from hosts.driver.types import PoolFacts
from hosts.errors import translate
from hosts.models import BackupTarget, Host, TargetReach
from hosts.workflows.tokens import text_in
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, Workflow, register
from portal.tenancy.roles import Permission

_OTHER_DIRECTORY = "It has another directory at that path: it does not see the file that the other hosts see."
_FOREIGN = "The directory belongs to another portal's backup target."


def look_from_each_host(context: StepContext) -> Output:
    """One that does not answer keeps the others from nothing; what is known of it stays out of use until it does."""
    target = BackupTarget.objects.get(pk=context.operation.target_id)
    hosts = _those_who_reached_it_first(target)
    for index, host in enumerate(hosts):
        context.progress(index / len(hosts), f"Looking from {host.name}")
        try:
            facts, problem = _look(target, fenced_driver(host, context.check), is_first=_nobody_reaches(target))
        except errors.DriverError as error:
            facts, problem = None, str(error)
        _note(target, host, facts, problem)
    return None


def _those_who_reached_it_first(target: BackupTarget) -> list[Host]:
    """Whoever has seen the token before comes first, so that no other directory is taken for the target."""
    reached = set(target.reaches.filter(is_reached=True).values_list("host_id", flat=True))
    return sorted(Host.objects.exclude(checked_at=None), key=lambda host: host.pk not in reached)


def _nobody_reaches(target: BackupTarget) -> bool:
    return not target.reaches.filter(is_reached=True).exists()


def _look(target: BackupTarget, driver: Driver, *, is_first: bool) -> tuple[PoolFacts, str]:
    """What the pool is, and what is wrong with it."""
    facts = driver.ensure_pool(target.pool_name, Path(target.path))
    token = text_in(driver, target.pool_name, target.marker)
    if token is None and is_first:
        driver.upload(target.pool_name, target.marker, target.token.encode(), "raw")
        token = target.token
    if token is None:
        return facts, _OTHER_DIRECTORY
    return facts, "" if token == target.token else _FOREIGN


def _note(target: BackupTarget, host: Host, facts: PoolFacts | None, problem: str) -> None:
    found: dict[str, Any] = {"is_reached": not problem, "problem": problem[:300], "checked_at": timezone.now()}
    if facts is not None:
        found |= {"capacity_bytes": facts.capacity_bytes, "available_bytes": facts.available_bytes}
    TargetReach.objects.update_or_create(target=target, host=host, defaults=found)


def done(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """What was found is noted already, host by host."""


def not_done(operation: Operation) -> None:
    """What was found until then stays."""


CHECK_TARGET = register(
    Workflow(
        kind="backup-target.check",
        doing="checking",
        done="checked",
        permission=Permission.HOST_WRITE,
        steps=(Step("look", "Looking from each host", look_from_each_host),),
        succeeded=done,
        unwound=not_done,
        translate=translate,
        deadline=timedelta(minutes=30),
    )
)
