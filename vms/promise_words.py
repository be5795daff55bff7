"""What a service class promises, in plain words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hosts.models import Failover
from hosts.service_class import FLOORS, WHOLE, Promise, ServiceClass
from vms.models.catalogue import Priority
from vms.promise_kept import Kept
from vms.rhythm import Every

if TYPE_CHECKING:
    from hosts.overcommit import OverCommit
    from vms.models import Schedule

NAMES = {
    ServiceClass.DEDICATED: "Dedicated",
    ServiceClass.GUARANTEED: "Guaranteed",
    ServiceClass.BURSTABLE: "Burstable",
    ServiceClass.BEST_EFFORT: "Best effort",
}


@dataclass(frozen=True, slots=True)
class Words:
    """`short` fits beside a size; `floor`, `ceiling` and `memory` are sentences of the card."""

    name: str
    short: str
    floor: str
    ceiling: str
    memory: str


def words(promise: Promise, floor: int | None) -> Words:
    """`floor` is what is promised for each vCPU in percent of a CPU, None where it is not known or nothing."""
    kind = promise.service_class
    floor = FLOORS.get(kind) if floor is None else floor
    return Words(NAMES[kind], _short(promise, floor), _floor(promise, floor), _ceiling(promise), _memory(promise))


def _short(promise: Promise, floor: int | None) -> str:
    kind = promise.service_class
    if kind is ServiceClass.DEDICATED:
        return "CPUs of its own"
    if kind is ServiceClass.BEST_EFFORT:
        return "nothing guaranteed"
    parts = ["a guaranteed share" if floor is None else f"{floor} % guaranteed"]
    if promise.cpu_ceiling is not None:
        parts.append(f"at most {promise.cpu_ceiling} %")
    return ", ".join(parts)


def _floor(promise: Promise, floor: int | None) -> str:
    cpus = "one CPU" if promise.vcpus == 1 else f"{promise.vcpus} CPUs"
    if promise.is_dedicated:
        return f"{cpus[0].upper()}{cpus[1:]} of the host, which nothing else runs on."
    if floor is None:
        return "A share of the CPU that follows from how many machines the host takes."
    if not floor:
        return "None: it gets the CPU that others leave."
    if floor >= WHOLE:
        return f"All of {cpus}, also when every machine on the host is busy."
    of_each = "" if promise.vcpus == 1 else " for each of its vCPUs"
    return f"{floor} % of a CPU{of_each}, also when every machine on the host is busy."


def _ceiling(promise: Promise) -> str:
    if promise.cpu_ceiling is not None:
        of_each = "" if promise.vcpus == 1 else " for each of its vCPUs"
        return f"{promise.cpu_ceiling} % of a CPU{of_each}, also when the host is idle."
    return "All of its own CPUs." if promise.is_dedicated else "All of the CPU that nobody else wants."


def _memory(promise: Promise) -> str:
    if promise.has_huge_pages:
        return "All of it is reserved, in huge pages."
    if promise.reserves_memory:
        return "All of it is reserved, and never given out twice."
    return "It is not reserved: its provider may give out more memory than a host has."


_ON_LOCAL_STORAGE = "Its disks lie on its host alone. While that is down the machine is off"
FIRMWARE_FORGETS = (
    "What it has written into its firmware's memory, as the order of starting, is lost too: it starts from what its "
    "disk offers by default."
)
_ON_SHARED_STORAGE = "Its disks lie on storage that other hosts reach too, so they outlive its host."
_TURNS = {Priority.HIGH: "before others", Priority.NORMAL: "in its turn", Priority.LOW: "after all others"}


_BEGINS = {
    Failover.OFF: "While that is down it is off. Once an administrator has made sure that its host is off,",
    Failover.MANUAL: "Once an administrator has confirmed that its host has failed,",
    Failover.AUTOMATIC: "Once its host has failed and is off for certain, without anybody's asking",
    Failover.EAGER: "When its host fails, that one is switched off for certain, and then without anybody's asking",
}
_BY_HAND = "Once its host has failed and an administrator has confirmed that it is off,"


def on_local_storage(*, has_backup: bool, is_within_reach: bool) -> str:
    """What becomes of a machine whose disks no other host reaches, when its host fails. `is_within_reach`: another host
    reaches a backup of it."""
    if is_within_reach:
        return f"{_ON_LOCAL_STORAGE}, and its newest backup can be restored on another host."
    if has_backup:
        return f"{_ON_LOCAL_STORAGE}, and so are its backups: no other host reaches them."
    return f"{_ON_LOCAL_STORAGE}, and there is no backup of it that could be restored on another host."


def on_shared_storage(policy: str, priority: str, *, is_fenced: bool, lacking: str = "") -> str:
    """The same of one of that priority whose disks others reach, in a cluster of that policy.

    `is_fenced`: something tells that its host is off. `lacking` is what none of the others does at present.
    """
    by_itself = policy in (Failover.AUTOMATIC, Failover.EAGER)
    begins = _BY_HAND if by_itself and not is_fenced else _BEGINS[Failover(policy)]
    turn = f"it starts again on another host, {_TURNS[Priority(priority)]}, as far as there is room"
    at_present = f" At present none of the others {lacking}." if lacking else ""
    return f"{_ON_SHARED_STORAGE} {begins} {turn}.{at_present} What was only in its memory is lost."


def nowhere_else(lacking: str) -> str:
    """The same of one that none of these takes before somebody changes something: `lacking` is what none does."""
    why = f"But none of the others {lacking}"
    return f"{_ON_SHARED_STORAGE} {why}, so it is off until its host is back, or an administrator has changed that."


ON_HOST_FAILURE_OF_SIZE = (
    "With disks on storage that hosts share, it can start again on another host; its own page says whether by "
    "itself. With disks on its host alone it is off while that is down, and its newest backup can be restored."
)


def schedule(schedule: Schedule) -> str:
    """Daily at 03:00 UTC, 7 kept."""
    kept = sum((schedule.keep_last, schedule.keep_hourly, schedule.keep_daily, schedule.keep_weekly))
    kept += schedule.keep_monthly
    at = "" if schedule.every == Every.HOUR else f" at {schedule.at:%H:%M} {schedule.zone}"
    return f"{schedule.every.capitalize()}{at}, {kept} kept"


def cpu_shared(over_commit: OverCommit, *, named: bool = False) -> str:
    """How many machines' vCPUs share a CPU of a cluster; `named` where it is not that of one machine."""
    on = f"On the hosts of {over_commit.cluster}" if named else "On its hosts"
    if not over_commit.hosts:
        return f"{on} no machine runs now."
    most = f"at most {over_commit.most:g} may"
    if over_commit.given <= 1:
        given = f"{on} there are {over_commit.given:g} vCPUs for each CPU now"
        return f"{given}, so nobody has to share yet; {most} share one."
    return f"{on} {over_commit.given:g} vCPUs share each CPU now; {most}."


def meaning(promise: Promise, floor: int | None, ratio: float | None = None) -> str:
    """What sharing means for a machine that is promised that: when all want to run at once. `ratio` is the most of its
    class on one CPU, None where that has no limit of its own."""
    if promise.is_dedicated:
        return "It is not concerned: nothing else runs on its CPUs."
    of_class = f" Of its class at most {ratio:g} share one." if ratio else ""
    floor = FLOORS.get(promise.service_class) if floor is None else floor
    if floor is None:
        return f"When all want to run at once it gets its share of them, and perhaps no more.{of_class}"
    if not floor:
        return f"When all want to run at once it gets what they leave, and may have to wait long.{of_class}"
    if floor >= WHOLE:
        return f"When all want to run at once it still gets all that it has.{of_class}"
    each = "" if promise.vcpus == 1 else " for each vCPU"
    return f"When all want to run at once it gets {floor} % of a CPU{each} for certain, and perhaps no more.{of_class}"


def waited(kept: Kept, waited_percent: float) -> str:
    """What was measured in the last five minutes, as a sentence."""
    of_time = f"In the last five minutes it waited for {waited_percent:g} % of the time that it wanted to run."
    return {
        Kept.KEPT: of_time,
        Kept.AT_RISK: f"{of_time} It got what is guaranteed, and hardly more: with more load on its host it gets less.",
        Kept.BROKEN: f"{of_time} It got less than is guaranteed. Its provider sees this too.",
        Kept.NOTHING: f"{of_time} Nothing was guaranteed.",
        Kept.UNKNOWN: "Nothing was measured in the last five minutes: it is off, or was just started.",
    }[kept]
