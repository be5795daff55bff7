"""What emptying a host comes to: each machine in its turn, how it goes and where to, or why it stays. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

from hosts.choice import Choice, Constraint, Site, choose
from hosts.models import Host
from vms import migration, room
from vms.migration import Candidate, Target
from vms.models import VM
from vms.models.catalogue import Priority
from vms.wanted import wishes


class Way(StrEnum):
    """LIVE: it goes on meanwhile. COPY: that too, with the data of its disks. COLD: it is off, and stays so."""

    LIVE = "live"
    COPY = "live-with-copy"
    COLD = "cold"


_HELP: Mapping[Constraint, str] = {
    Constraint.STATE: "Uncordon another host of the cluster.",
    Constraint.NOT_READY: "Mend another host of the cluster and check it again.",
    Constraint.PROCESSOR: "Stop it first: a machine that is off can go to another kind of host.",
    Constraint.LABELS: "Give another host the label that its size asks for.",
    Constraint.APART: "Add another host to the cluster, or ask its owner to take it out of the group.",
    Constraint.TOGETHER: "Make room on the host of its group.",
    Constraint.CAPACITY: "Free room on another host of the cluster, or add one.",
}


@dataclass(frozen=True)
class Move:
    """`target` None: it stays, because of `obstacles` (of each other host, one after its name), unless `help` is
    done. `waits`: something is under way on it, and it goes when that has ended."""

    vm: VM
    way: Way
    target: Target | None = None
    obstacles: tuple[str, ...] = ()
    help: str = ""
    waits: str = ""

    @property
    def copied_gib(self) -> int:
        return self.target.copied_gib if self.target else 0


@dataclass(frozen=True)
class Plan:
    """Of one host, in the order in which its machines go. `loose_volumes` of no machine stay."""

    host: Host
    moves: tuple[Move, ...]
    loose_volumes: int = 0

    @property
    def staying(self) -> list[Move]:
        return [move for move in self.moves if move.target is None]

    @property
    def is_possible(self) -> bool:
        return not self.staying

    @property
    def copied_gib(self) -> int:
        return sum(move.copied_gib for move in self.moves)


def in_turn(vms: Iterable[VM]) -> list[VM]:
    """Those that are off last: nobody waits for them. Else by priority, and of one priority the small ones first."""
    return sorted(vms, key=_turn)


def _turn(vm: VM) -> tuple[bool, int, int, int, str]:
    priority = Priority.values.index(vm.flavor.recovery_priority)
    return not migration.is_live(vm), priority, vm.memory_mib, vm.disk_gib, str(vm.pk)


def simulate(host: Host, candidates: Sequence[Candidate], sites: Iterable[Site], why_not: Mapping[UUID, str]) -> Plan:
    """One after the other, each with the room that those before it have left. `why_not` says of machines that cannot
    be moved at all why. What single pools have free is left to the moves themselves."""
    others = {site.id: site for site in sites if site.cluster_id == host.cluster_id and site.id != host.pk}
    hosts = _Hosts(others, frozenset([host.pk]))
    return Plan(host, tuple(_move(each, hosts, why_not.get(each.vm.pk, "")) for each in candidates))


class _Hosts:
    """The hosts as they will be. `moved` says of those that have gone where they are by then."""

    def __init__(self, sites: dict[UUID, Site], leaving: frozenset[UUID]) -> None:
        self.sites, self.leaving = sites, leaving
        self.moved: dict[UUID, UUID] = {}

    def take(self, vm: VM, host_id: UUID, claims: Mapping[str, int]) -> None:
        self.sites[host_id] = self.sites[host_id].with_claim(claims)
        self.moved[vm.pk] = host_id


def _move(candidate: Candidate, hosts: _Hosts, why_not: str) -> Move:
    vm = candidate.vm
    if why_not:
        return Move(vm, _way(vm), obstacles=(why_not,))
    wanted = replace(candidate.wanted, **wishes(vm.pk, candidate.bonds, hosts.moved, hosts.leaving))
    choice = choose(wanted, hosts.sites.values())
    targets = {target.host.pk: target for target in candidate.targets}
    obstacles = {
        target.host: [*migration.of_placement(target.host, choice), *target.obstacles] for target in targets.values()
    }
    is_short = False
    for site in choice.ranked:
        target = targets[site.id]
        claims = _claims(candidate, target.host, site)
        lacks = room.lacks(vm.promise, claims, target.host, site)
        if not target.obstacles and not lacks:
            hosts.take(vm, site.id, claims)
            return Move(vm, _way(vm, target), target)
        if lacks:
            obstacles[target.host].append(f"It has no room: {lacks}.")
            is_short = is_short or not target.obstacles
    told = tuple(f"{host.name}: {words[0]}" for host, words in obstacles.items())
    return Move(vm, _way(vm), None, told or ("Its cluster has no other host.",), _help(choice, bool(told), is_short))


def _way(vm: VM, target: Target | None = None) -> Way:
    if not migration.is_live(vm):
        return Way.COLD
    return Way.COPY if target is not None and target.copied else Way.LIVE


def _help(choice: Choice, has_others: bool, is_short: bool) -> str:
    """By what is in the way at the hosts that are closest; obstacles of the machine itself say what helps."""
    if not has_others:
        return "Add another host to its cluster."
    if is_short:
        return _HELP[Constraint.CAPACITY]
    if choice.ranked:
        return ""
    closest = max((refusal.constraint for refusal in choice.refused.values()), key=list(Constraint).index)
    return _HELP.get(closest, "")


def _claims(candidate: Candidate, host: Host, site: Site) -> dict[str, int]:
    """All that it takes of that host, with what lies beside it."""
    claims = room.claims(candidate.vm.promise, candidate.wanted.amounts, host, site)
    claims["disk_gib"] = claims.get("disk_gib", 0) + candidate.beside.get("disk_gib", 0)
    return claims
