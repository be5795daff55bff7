"""Which host takes a machine: pure filters that say why not, then the order of those that are left.

Knows no database: `hosts.placement` reads what the hosts are, and claims the first one that still has the room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from hosts import resources

RESOURCES = ("vcpus", "memory_mib", "disk_gib")
SMALLER = "Choose a smaller size, or try again later."


class Constraint(StrEnum):
    """Why a host was not taken, in the order in which it is asked: who fails at a later one was closer."""

    STATE = "state"
    NOT_READY = "not_ready"
    UNREAD = "unread"
    AVOIDED = "avoided"
    CLUSTER = "cluster"
    FIRMWARE = "firmware"
    PROCESSOR = "processor"
    LABELS = "labels"
    STORAGE = "storage"
    TOGETHER = "together"
    APART = "apart"
    CAPACITY = "capacity"
    CLAIM = "claim"
    RANK = "rank"


@dataclass(frozen=True, slots=True)
class Site:
    """A host as it is judged. `capacity` is what may be claimed of it by policy, `used` what is; by resource."""

    id: UUID
    name: str
    cluster_id: UUID
    state: str
    is_packed: bool
    is_ready: bool
    is_unread: bool
    is_reachable: bool
    processor: str
    firmwares: frozenset[str]
    labels: frozenset[str]
    capacity: Mapping[str, int]
    used: Mapping[str, int]

    def with_claim(self, amounts: Mapping[str, int]) -> Site:
        """The same with more of it used."""
        used = {name: self.used.get(name, 0) + amounts.get(name, 0) for name in {*self.used, *amounts}}
        return replace(self, used=used)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a machine asks of its host. Each filter that is left empty lets every host pass.

    `clusters` are those that its tenant may use, `processor` an accelerator that it is bound to, `storage` the hosts
    that reach what it stands on. `together` names the host of each group whose machines are kept together (None while
    one of them is on its way to another, and nobody can be with it), `apart` the group on each host that it must keep
    away from. `avoid` are hosts that it is to leave. `uses_reserve`: what is kept
    free for failures is there for it. `title` tells an administrator whose it is.
    """

    amounts: Mapping[str, int]
    title: str = ""
    firmware: str = "bios"
    processor: str = ""
    labels: frozenset[str] = frozenset()
    clusters: frozenset[UUID] = frozenset()
    storage: frozenset[UUID] | None = None
    together: Mapping[str, UUID | None] = field(default_factory=dict)
    apart: Mapping[UUID, str] = field(default_factory=dict)
    avoid: frozenset[UUID] = frozenset()
    uses_reserve: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """`detail` is for administrators: what is missing, in few words."""

    constraint: Constraint
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """`ranked` are the hosts that would do, the best first; `loads` says of each of them how full it would be;
    `refused` are the others, by name."""

    ranked: tuple[Site, ...]
    loads: tuple[float, ...]
    refused: Mapping[str, Refusal]


def choose(wanted: Wanted, sites: Iterable[Site]) -> Choice:
    """Judge every host by every filter."""
    fitting, refused = [], {}
    filters = [(is_passed, refuse) for is_asked, is_passed, refuse in _FILTERS if is_asked(wanted)]
    for site in sites:
        for is_passed, refuse in filters:
            if not is_passed(wanted, site):
                refused[site.name] = refuse(wanted, site)
                break
        else:
            fitting.append(site)
    judged = [(load_after(wanted, site), site) for site in fitting]
    judged.sort(key=lambda each: _rank(wanted, *each))
    return Choice(tuple(site for _, site in judged), tuple(load for load, _ in judged), refused)


def load_after(wanted: Wanted, site: Site) -> float:
    """How full it would be with it, by the scarcer of processors and memory: 1.0 is all that policy gives out.

    What asks for neither is a disk, and hosts are compared by that.
    """
    used, amounts, capacity = site.used, wanted.amounts, site.capacity
    if "vcpus" not in amounts:
        return (used.get("disk_gib", 0) + amounts["disk_gib"]) / (capacity["disk_gib"] or 1)
    vcpus = (used.get("vcpus", 0) + amounts["vcpus"]) / (capacity["vcpus"] or 1)
    memory = (used.get("memory_mib", 0) + amounts["memory_mib"]) / (capacity["memory_mib"] or 1)
    return vcpus if vcpus > memory else memory


def _rank(wanted: Wanted, load: float, site: Site) -> tuple[bool, int, float, str]:
    """Hosts that answer, then those without labels that others need more, then by the cluster's policy."""
    return not site.is_reachable, len(site.labels - wanted.labels), -load if site.is_packed else load, site.name


def _has_room(wanted: Wanted, site: Site) -> bool:
    used, capacity = site.used, site.capacity
    for name, amount in wanted.amounts.items():
        if amount > 0 and used.get(name, 0) + amount > capacity.get(name, 0):
            return False
    return True


def _lacking(wanted: Wanted, site: Site) -> dict[str, int]:
    """By resource, how much more it would have to have."""
    missing = {name: site.used.get(name, 0) + amount - site.capacity.get(name, 0) for name, amount in _asked(wanted)}
    return {name: amount for name, amount in missing.items() if amount > 0}


def _asked(wanted: Wanted) -> list[tuple[str, int]]:
    return [(name, amount) for name, amount in wanted.amounts.items() if amount > 0]


def _is_with_its_group(wanted: Wanted, site: Site) -> bool:
    return all(host_id == site.id for host_id in wanted.together.values())


def _takes_machines(wanted: Wanted, site: Site) -> bool:
    return site.state == "enabled" and site.is_ready and not site.is_unread


def _why_none(site: Site) -> Refusal:
    if site.state != "enabled":
        return Refusal(Constraint.STATE, site.state)
    return Refusal(Constraint.UNREAD if site.is_ready else Constraint.NOT_READY)


def _always(wanted: Wanted) -> bool:
    return True


# Whether a machine asks for it at all, whether a host has it, and what is noted where it has not.
_Filter = tuple[Callable[[Wanted], object], Callable[[Wanted, Site], bool], Callable[[Wanted, Site], Refusal]]
_FILTERS: tuple[_Filter, ...] = (
    (_always, _takes_machines, lambda wanted, site: _why_none(site)),
    (
        lambda wanted: wanted.avoid,
        lambda wanted, site: site.id not in wanted.avoid,
        lambda wanted, site: Refusal(Constraint.AVOIDED),
    ),
    (
        lambda wanted: wanted.clusters,
        lambda wanted, site: site.cluster_id in wanted.clusters,
        lambda wanted, site: Refusal(Constraint.CLUSTER),
    ),
    (
        lambda wanted: wanted.firmware != "bios",  # which every host has
        lambda wanted, site: wanted.firmware in site.firmwares,
        lambda wanted, site: Refusal(Constraint.FIRMWARE, wanted.firmware),
    ),
    (
        lambda wanted: wanted.processor,
        lambda wanted, site: wanted.processor == site.processor,
        lambda wanted, site: Refusal(Constraint.PROCESSOR, site.processor),
    ),
    (
        lambda wanted: wanted.labels,
        lambda wanted, site: wanted.labels <= site.labels,
        lambda wanted, site: Refusal(Constraint.LABELS, ", ".join(sorted(wanted.labels - site.labels))),
    ),
    (
        lambda wanted: wanted.storage is not None,
        lambda wanted, site: wanted.storage is not None and site.id in wanted.storage,
        lambda wanted, site: Refusal(Constraint.STORAGE),
    ),
    (
        lambda wanted: wanted.together,
        _is_with_its_group,
        lambda wanted, site: Refusal(Constraint.TOGETHER, ", ".join(sorted(wanted.together))),
    ),
    (
        lambda wanted: wanted.apart,
        lambda wanted, site: site.id not in wanted.apart,
        lambda wanted, site: Refusal(Constraint.APART, wanted.apart[site.id]),
    ),
    (_always, _has_room, lambda wanted, site: Refusal(Constraint.CAPACITY, resources.short(_lacking(wanted, site)))),
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """For a tenant: the constraint that failed on the hosts that were closest, what would help, and facts for
    programs."""

    words: str
    extra: Mapping[str, object]


def explain(wanted: Wanted, sites: Iterable[Site], refused: Mapping[str, Refusal]) -> Explanation:
    """Why none of the hosts takes it. Names no host."""
    order = list(Constraint)
    if not refused:
        words = "There is no host. An administrator adds one under Provider, Hosts."
        return Explanation(words, {"constraint": Constraint.STATE})
    last = max((refusal.constraint for refusal in refused.values()), key=order.index)
    if last == Constraint.CAPACITY:
        closest = [site for site in sites if site.name in refused and refused[site.name].constraint == last]
        return _no_room(wanted, closest)
    details = sorted({refusal.detail for refusal in refused.values() if refusal.constraint == last})
    return Explanation(_TOLD[last].format(", ".join(filter(None, details))), {"constraint": last})


_TOLD = {
    Constraint.STATE: "All hosts are cordoned and take no new machines. An administrator uncordons them under "
    "Provider, Hosts.",
    Constraint.NOT_READY: "No host is ready to run machines. An administrator sees why under Provider, Hosts.",
    Constraint.UNREAD: "A backup was restored, and the hosts are being read anew. Try again in a minute.",
    Constraint.AVOIDED: "No other host takes machines at the moment. Try again later.",
    Constraint.CLUSTER: "The clusters that this tenant may use take no machines at the moment. An administrator can "
    "allow it another one.",
    Constraint.FIRMWARE: "No host has UEFI firmware. Choose an image that starts by BIOS, or ask an administrator.",
    Constraint.PROCESSOR: "No other host has the processor that this machine was started on. Stop it first, or try "
    "again later.",
    Constraint.LABELS: "No host has what this size asks for ({}). Choose another size, or ask an administrator.",
    Constraint.STORAGE: "No host that has room reaches its storage. Choose another storage class, or try again later.",
    Constraint.TOGETHER: "Its group {} is kept on one host, which takes no more machines or is being left. Choose "
    "another group or none, or try again later.",
    Constraint.APART: "Every host that would do has a machine that it is kept apart from ({}). Take one out of the "
    "group, or ask an administrator for another host.",
}


def _no_room(wanted: Wanted, closest: list[Site]) -> Explanation:
    """Of the hosts that fail by room alone; `resource` is the one that most of them lack."""
    lacking = [name for site in closest for name in _lacking(wanted, site)]
    scarce = sorted(set(lacking), key=RESOURCES.index)
    amounts = " and ".join(resources.amount(name, wanted.amounts[name]) for name in scarce)
    resource = max(scarce, key=lacking.count)
    where = "No host has" if not wanted.together else "The host of its group does not have"
    at_once = " at once" if len(scarce) > 1 else ""
    extra = {"constraint": Constraint.CAPACITY, "resource": resource, "requested": wanted.amounts[resource]}
    return Explanation(f"{where} {amounts} free{at_once}. {SMALLER}", extra)
