"""Who takes machines over when their host fails: judged as recovery places them, before the failure and after it.

Claims nothing and changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from uuid import UUID

from django.db.models import Case, IntegerField, QuerySet, Value, When

from hosts import placement, service_class
from hosts.choice import Constraint, Refusal, Site, choose
from hosts.models import Cluster, Host, HostState
from hosts.service_class import Promise
from hosts.spare import Spare
from vms import migration, room, storage
from vms.models import VM
from vms.models.catalogue import Priority
from vms.observed import SETTLED
from vms.wanted import asked, bonds_of, wishes

_TURN = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}
# A host that lacks room alone is closest: a promise that it cannot keep however empty it is weighs more.
_CLOSENESS = [*(each for each in Constraint if each is not Constraint.CAPACITY), Constraint.CAPACITY]
_NOT_NOW = "takes machines"
_NONE = {
    Constraint.STATE: _NOT_NOW,
    Constraint.NOT_READY: _NOT_NOW,
    Constraint.UNREAD: _NOT_NOW,
    Constraint.AVOIDED: _NOT_NOW,
    Constraint.FIRMWARE: "has its firmware ({})",
    Constraint.LABELS: "has what its size asks for ({})",
    Constraint.TOGETHER: "is where its group {} is kept together, and takes it",
    Constraint.APART: "is without a machine that it is kept apart from (group {})",
    Constraint.CLAIM: "can keep what it is promised: {}",
    Constraint.CAPACITY: "has room for it",
}
AT_ONCE = 50  # hosts; of a thousand most machines need not look at all
# What ends by itself, sooner or later.
PASSING = frozenset(
    {Constraint.CAPACITY, Constraint.STATE, Constraint.NOT_READY, Constraint.UNREAD, Constraint.AVOIDED}
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where a machine would start: on `host`; None where none takes it, and then `constraint` is what those lack that
    come closest.

    `words` say it as what none of the others does, and name no host: "has room for it". `obstacles`, for
    administrators, are of each host that reaches its disks, after its name. `is_local`: none reaches them.
    """

    vm: VM
    host: Host | None = None
    is_local: bool = False
    constraint: Constraint | None = None
    words: str = ""
    obstacles: tuple[str, ...] = ()

    @property
    def is_passing(self) -> bool:
        """It waits, for room say; anything else somebody has to change."""
        return self.constraint in PASSING


def machines_on(hosts: Iterable[Host]) -> QuerySet[VM]:
    """Those that are to be had elsewhere: by their turn, and those that are to run first."""
    turn = Case(
        *(When(flavor__recovery_priority=priority, then=Value(place)) for priority, place in _TURN.items()),
        output_field=IntegerField(),
    )
    off = Case(When(binned_at=None, then=Value(0)), default=Value(1), output_field=IntegerField())
    rows = VM.objects.unscoped("recovery").filter(SETTLED, host__in=list(hosts))
    return (
        rows.select_related("flavor", "host__cluster", "tenant")
        .annotate(turn=turn, is_off=off)
        .order_by("is_off", "turn", "created_at", "pk")
    )


def of_one(vm: VM) -> Outlook:
    """With the room that there is now, as if nothing else of its host needed it."""
    (found,) = _Takeover([vm]).without({vm.host_id})
    return found


def of_hosts(hosts: Iterable[Host]) -> Mapping[UUID, Outlook]:
    """By machine, of each host as if it alone failed; as many queries for one as for all."""
    takeover = _Takeover(list(machines_on(hosts)))
    return {found.vm.pk: found for host in hosts for found in takeover.without({host.pk})}


def spares(clusters: Iterable[Cluster]) -> Mapping[UUID, Spare]:
    """For hosts.spare: by id of cluster, what losing the worst of its hosts comes to. Queries as for one."""
    reserves = {cluster.pk: cluster.failure_reserve for cluster in clusters}
    hosts: dict[UUID, list[Host]] = defaultdict(list)
    for host in Host.objects.filter(cluster__in=list(reserves)).exclude(state=HostState.FAILED):
        hosts[host.cluster_id].append(host)
    takeover = _Takeover(list(machines_on(host for those in hosts.values() for host in those)))
    return {id: _worst(hosts[id], reserve, takeover) for id, reserve in reserves.items()}


class _Takeover:
    """Machines, the hosts that reach their disks, and what these have free; read once."""

    def __init__(self, vms: Sequence[VM]) -> None:
        self._on: dict[UUID, list[tuple[int, VM]]] = defaultdict(list)
        for turn, vm in enumerate(vms):
            self._on[vm.host_id].append((turn, vm))
        self._reaching, self._bonds = storage.elsewhere_of(vms), bonds_of(vms)
        rows = Host.objects.filter(pk__in={id for ids in self._reaching.values() for id in ids})
        self._hosts = {host.pk: host for host in rows.select_related("cluster").defer("verdicts", "cpu_models")}
        self._promises: dict[tuple[UUID, Promise], str] = {}
        self._sites = {site.id: site for site in placement.sites(uses_reserve=True) if site.id in self._hosts}

    def memory_of(self, host: Host) -> int:
        return sum(vm.memory_mib for _, vm in self._on[host.pk])

    def without(self, lost: Iterable[UUID]) -> list[Outlook]:
        """Each machine on these hosts by its turn, with the room that those before it have left."""
        gone = frozenset(lost)
        sites = {id: site for id, site in self._sites.items() if id not in gone}
        moved: dict[UUID, UUID] = {}
        in_turn = sorted((each for id in gone for each in self._on[id]), key=itemgetter(0))
        return [self._judged(vm, sites, moved, gone) for _, vm in in_turn]

    def _judged(self, vm: VM, sites: dict[UUID, Site], moved: dict[UUID, UUID], gone: frozenset[UUID]) -> Outlook:
        if not self._reaching[vm.pk]:
            return Outlook(vm, is_local=True, constraint=Constraint.STORAGE, words="reaches its disks")
        amounts = {name: amount for name, amount in vm.wanted.items() if name != "disk_gib"}
        bonds = self._bonds.get(vm.pk, ())
        wanted = asked(vm, bonds, {"amounts": amounts, "uses_reserve": True, **wishes(vm.pk, bonds, moved, gone)})
        refused: dict[str, Refusal] = {}
        others = (sites[id] for id in self._reaching[vm.pk] if id in sites)
        while some := list(islice(others, AT_ONCE)):
            choice = choose(wanted, some)
            for site in choice.ranked:
                claims = room.claims(vm.promise, amounts, self._hosts[site.id], site)
                refusal = self._misfit(vm, claims, site)
                if refusal is None:
                    sites[site.id], moved[vm.pk] = site.with_claim(claims), site.id
                    return Outlook(vm, self._hosts[site.id])
                refused[site.name] = refusal
            refused |= self._lasting(vm, choice.refused, some)
        return _stays(vm, refused)

    def _misfit(self, vm: VM, claims: Mapping[str, int], site: Site) -> Refusal | None:
        """Why a host that would do cannot keep what the machine is promised."""
        host = self._hosts[site.id]
        if reason := self._why_not(vm.promise, host):
            return Refusal(Constraint.CLAIM, reason)
        lacks = room.lacks(vm.promise, claims, host, site)
        return Refusal(Constraint.CAPACITY, lacks) if lacks else None

    def _lasting(self, vm: VM, refused: Mapping[str, Refusal], sites: Iterable[Site]) -> dict[str, Refusal]:
        """Where room is lacking, the promise may be one that cannot be kept there: no waiting ends that."""
        found = dict(refused)
        for site in sites:
            is_full = site.name in refused and refused[site.name].constraint is Constraint.CAPACITY
            if is_full and (reason := self._why_not(vm.promise, self._hosts[site.id])):
                found[site.name] = Refusal(Constraint.CLAIM, reason)
        return found

    def _why_not(self, promise: Promise, host: Host) -> str:
        """Once for all machines with the same promise."""
        key = host.pk, promise
        if key not in self._promises:
            self._promises[key] = service_class.why_not(promise, host)
        return self._promises[key]


def _stays(vm: VM, refused: Mapping[str, Refusal]) -> Outlook:
    """Because of those that came closest."""
    if not refused:  # they are lost with it
        return Outlook(vm, constraint=Constraint.STATE, words=_NONE[Constraint.STATE])
    last = max((refusal.constraint for refusal in refused.values()), key=_CLOSENESS.index)
    details = sorted({refusal.detail for refusal in refused.values() if refusal.constraint is last})
    obstacles = tuple(f"{name}: {migration.words(refusal)}" for name, refusal in sorted(refused.items()))
    return Outlook(vm, constraint=last, words=_NONE[last].format(", ".join(details)), obstacles=obstacles)


def _worst(hosts: Sequence[Host], reserve: int, takeover: _Takeover) -> Spare:
    """Each host fails once; where room is kept for several, together with those that have most."""
    fullest = sorted(hosts, key=takeover.memory_of, reverse=True)
    found = [Spare()]
    for host in hosts:
        others = [other for other in fullest if other.pk != host.pk][: max(reserve, 1) - 1]
        found.append(_spare([host, *others], takeover))
    return max(found, key=lambda spare: (spare.without_room + spare.refused, spare.machines, spare.local))


def _spare(failing: Sequence[Host], takeover: _Takeover) -> Spare:
    outlooks = takeover.without(host.pk for host in failing)
    if not outlooks:
        return Spare()
    movable = [each for each in outlooks if not each.is_local]
    without_room = sum(each.constraint is Constraint.CAPACITY for each in movable)
    refused = Counter(each.words for each in movable if each.constraint not in (None, Constraint.CAPACITY))
    return Spare(
        host=" and ".join(sorted(host.name for host in failing)),
        machines=len(movable),
        without_room=without_room,
        refused=refused.total(),
        reasons=tuple(words for words, _ in refused.most_common()),
        local=len(outlooks) - len(movable),
    )
