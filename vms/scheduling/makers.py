"""Who makes what a schedule asks for: services register here, one a kind, and schedules find them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from vms.models import Schedule, ScheduleKind

ALREADY = "already"  # the code of a Conflict: the machine is as the schedule would make it


def _takes_no_target(actor: Actor, tenant: Tenant, reference: str | None) -> UUID:
    raise NotImplementedError


@dataclass(frozen=True)
class Maker:
    """`make` begins one in the caller's transaction, and gives its id, if any, and the operation; `delete` its end.

    Both raise a DomainError where that may not be: Conflict "operation_in_progress" is tried again, "wrong_state" and
    `ALREADY` are skipped, all else has failed. `whole` says which of these ids are there and could be returned to: what
    failed half-way pushes no good one out. `target` resolves a reference to where it goes, None to the default one, or
    raises Invalid at the field "target"; only for kinds that need one. `keeps`: what it makes stays until it is
    deleted.
    """

    make: Callable[[Actor, Schedule, datetime], tuple[UUID | None, Operation]]
    delete: Callable[[Actor, UUID], Operation]
    whole: Callable[[Collection[UUID]], set[UUID]]
    keeps: bool = True
    needs_target: bool = False
    target: Callable[[Actor, Tenant, str | None], UUID] = _takes_no_target


_makers: dict[ScheduleKind, Maker] = {}


def register(kind: ScheduleKind, maker: Maker) -> None:
    _makers[kind] = maker


def maker_of(kind: str) -> Maker:
    """Raises KeyError where nobody registered."""
    return _makers[ScheduleKind(kind)]


def kinds() -> list[ScheduleKind]:
    """Those that can be chosen, the most usual first."""
    return [kind for kind in ScheduleKind if kind in _makers]
