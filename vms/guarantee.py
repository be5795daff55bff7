"""The guarantee card: what is promised of a size or a machine, what may come in between, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.db.models.functions import TruncHour
from django.utils import timezone

from hosts import overcommit, service_class
from hosts.models import FenceAgent, Host, HostState, TargetReach
from hosts.models.usage import MINUTE
from hosts.overcommit import OverCommit
from vms import promise_words, takeover
from vms.models import VM, Backup, BackupState, Flavor, Schedule, ScheduleKind, VmUsage
from vms.promise_kept import Kept, Measured, verdict
from vms.promise_words import Words

LATELY = timedelta(minutes=6)  # five whole minutes, and the one that is not over
HISTORY = timedelta(hours=24)
MOST_HOURS = 24  # a day begins within an hour, and ends within one
_FIELDS = ("length_ms", "cpu_ms", "wait_ms", "risk_ms", "broken_ms")


@dataclass(frozen=True, slots=True)
class Hour:
    at: datetime
    kept: Kept
    waited_percent: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the machine itself was seen to wait: `kept` and `waited_percent` of the last minutes, and each hour of a
    day, oldest first, that anything was measured in."""

    kept: Kept
    waited_percent: float
    hours: Sequence[Hour]


@dataclass(frozen=True, slots=True)
class Backups:
    """`schedules` in words; `newest` is when the last complete one was taken, None where there is none.

    `is_within_reach`: a host that the machine is not on reaches one of them.
    """

    schedules: Sequence[str]
    newest: datetime | None
    is_within_reach: bool


@dataclass(frozen=True, slots=True)
class Guarantee:
    """`over_commit` is of the clusters that it may be placed in, or of the one that it is in; `meaning` says what that
    comes to for it. `backups` and `waiting` are those of a machine; None for a size."""

    service_class: str
    cpu_floor: int | None
    cpu_ceiling: int
    words: Words
    meaning: str
    over_commit: Sequence[OverCommit]
    on_host_failure: str
    recovery_priority: str
    backups: Backups | None = None
    waiting: Waiting | None = None


def of_flavors(flavors: Iterable[Flavor], cluster_ids: Iterable[object]) -> list[Guarantee]:
    """In the same order; a constant number of queries. `cluster_ids` are those in which its machines may be."""
    hosts = list(Host.objects.filter(cluster__in=list(cluster_ids), state=HostState.ENABLED).select_related("cluster"))
    present = overcommit.of_each_cluster({host.cluster_id for host in hosts})
    return [_of_flavor(flavor, hosts, present) for flavor in flavors]


def _of_flavor(flavor: Flavor, hosts: Sequence[Host], present: Sequence[OverCommit]) -> Guarantee:
    promise = flavor.promise()
    able = [host for host in hosts if not service_class.why_not(promise, host)]
    floors = [floor for host in able if (floor := service_class.floor_on(promise, host)) is not None]
    floor = min(floors, default=promise.cpu_floor)
    return Guarantee(
        service_class=str(promise.service_class),
        cpu_floor=floor,
        cpu_ceiling=promise.cpu_ceiling or service_class.WHOLE,
        words=promise_words.words(promise, floor),
        meaning=promise_words.meaning(promise, floor),
        over_commit=present,
        on_host_failure=promise_words.ON_HOST_FAILURE_OF_SIZE,
        recovery_priority=flavor.recovery_priority,
    )


def of_vm(vm: VM, now: datetime | None = None) -> Guarantee:
    """`vm` with its host."""
    now, promise, backups = now or timezone.now(), vm.promise, _backups(vm)
    present = overcommit.of_cluster(vm.host.cluster_id)
    ratio = present.class_ratios.get(vm.service_class)
    return Guarantee(
        service_class=vm.service_class,
        cpu_floor=vm.cpu_floor,
        cpu_ceiling=promise.cpu_ceiling or service_class.WHOLE,
        words=promise_words.words(promise, vm.cpu_floor),
        meaning=promise_words.meaning(promise, vm.cpu_floor, ratio),
        over_commit=[present],
        on_host_failure=_on_host_failure(vm, backups),
        recovery_priority=vm.flavor.recovery_priority,
        backups=backups,
        waiting=waiting(vm, now),
    )


def _on_host_failure(vm: VM, backups: Backups) -> str:
    outlook = takeover.of_one(vm)
    if outlook.is_local:
        return promise_words.on_local_storage(
            has_backup=backups.newest is not None, is_within_reach=backups.is_within_reach
        )
    if outlook.host is None and not outlook.is_passing:
        return promise_words.nowhere_else(outlook.words)
    told = promise_words.on_shared_storage(
        vm.host.cluster.failover,
        vm.flavor.recovery_priority,
        is_fenced=_is_fenced(vm.host),
        lacking=outlook.words,
    )
    return f"{told} {promise_words.FIRMWARE_FORGETS}" if vm.firmware != "bios" else told


def _is_fenced(host: Host) -> bool:
    agent = FenceAgent.objects.filter(host=host).first()
    return agent is not None and agent.works


def _backups(vm: VM) -> Backups:
    schedules = Schedule.objects.unscoped("of one in hand").filter(vm=vm, kind=ScheduleKind.BACKUP, is_active=True)
    complete = Backup.objects.unscoped("of one in hand").filter(vm=vm, state=BackupState.READY, damage="")
    newest = complete.order_by("-taken_at").values_list("taken_at", flat=True).first()
    reached = TargetReach.objects.filter(is_reached=True).exclude(host=vm.host).values("target")
    is_within_reach = complete.filter(target__in=reached).exists()
    return Backups([promise_words.schedule(each) for each in schedules], newest, is_within_reach)


def waiting(vm: VM, now: datetime) -> Waiting:
    """Two queries."""
    rows = VmUsage.objects.filter(vm=vm, step=MINUTE).order_by()
    sums = {name: Sum(name) for name in _FIELDS}
    lately = _measured(rows.filter(at__gte=now - LATELY).aggregate(**sums))
    hours = (
        rows.filter(at__gte=now - HISTORY).annotate(hour=TruncHour("at", tzinfo=UTC)).values("hour").annotate(**sums)
    )
    found: list[dict[str, Any]] = [dict(row) for row in hours.order_by("hour")]
    return Waiting(
        kept=verdict(lately, vm.cpu_floor),
        waited_percent=round(lately.waited_percent, 1),
        hours=[_hour(row.pop("hour"), _measured(row), vm.cpu_floor) for row in found][-MOST_HOURS:],
    )


def _measured(row: dict[str, int | None]) -> Measured:
    return Measured(**{name: value or 0 for name, value in row.items()})


def _hour(at: datetime, found: Measured, floor: int | None) -> Hour:
    return Hour(at, verdict(found, floor), round(found.waited_percent, 1))
