"""Placing machines: read what all hosts are, choose, and claim, in the caller's transaction."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import transaction

from hosts.choice import Choice, Constraint, Refusal, Site, Wanted, choose, explain
from hosts.models import Cluster, Host, HostState, Placement, Spread
from hosts.models.placement import KEPT_PER_HOLDER, forget_placements, forget_refusals
from portal.core.errors import Conflict
from portal.quotas import ledger

__all__ = ["NoCapacity", "Wanted", "place", "place_on", "resize", "sites"]

# What a failed host's machines need elsewhere; their disks are there already, or lost with it.
_RESERVED = ("vcpus", "memory_mib")
# Hosts whose capacity counts for the reserve: a failed or an empty one does not.
_IN_SERVICE = frozenset({HostState.ENABLED, HostState.CORDONED})


# Reading a thousand hosts takes longer than choosing one. So what was read serves this process for some seconds, where
# there are many: a claim looks at its host anew, and a refusal is only said after reading all again.
KNOWN_SECONDS = 3.0
ALWAYS_READ = 100
_known: dict[bool, tuple[float, list[Site]]] = {}


class NoCapacity(Conflict):
    """No host can take it now; the words say which constraint failed, and what would help."""

    code = "no_capacity"
    decision: Decision | None = None

    def remember(self) -> None:
        """The machine that was not placed is gone with its transaction; administrators see what it asked for."""
        decision, self.decision = self.decision, None
        if decision is not None:
            _note_refusal(decision, self.detail)


@dataclass(frozen=True, slots=True)
class Decision:
    """Why no host was taken: `refused` is by host."""

    holder_id: UUID
    wanted: Wanted
    refused: Mapping[str, Refusal]


def place(holder_id: UUID, wanted: Wanted, fits: Callable[[Host], object] = bool) -> Host:
    """Claim what is wanted on the best host, note why, and return it. Raises NoCapacity.

    No table is locked: others may claim meanwhile, and a host that is full by then is passed over for the next one. A
    host that is away for the moment still takes machines: the work waits for it and says so. `fits` is asked of a host
    on which all that is claimed, and raises NoCapacity where something else is in the way.
    """
    known = _known.get(wanted.uses_reserve)
    if known is not None and time.monotonic() - known[0] < KNOWN_SECONDS:
        try:
            return _place(holder_id, wanted, fits, known[1])
        except NoCapacity:
            pass  # there may be more by now than is known
    found = sites(wanted.uses_reserve)
    if len(found) > ALWAYS_READ:
        _known[wanted.uses_reserve] = (time.monotonic(), found)
    return _place(holder_id, wanted, fits, found)


def _place(holder_id: UUID, wanted: Wanted, fits: Callable[[Host], object], found: list[Site]) -> Host:
    choice = choose(wanted, found)
    refused, told = dict(choice.refused), None
    for index, site in enumerate(choice.ranked):
        try:
            with transaction.atomic():  # a host that refuses is let go of at once, or two requests wait for each other
                host = _claim(site, holder_id, wanted, fits)
        except _Lost as lost:
            refused[site.name] = lost.refusal
        except ledger.Exceeded as full:
            refused[site.name] = Refusal(Constraint.CAPACITY, "filled at the same moment")
            told = told or full_words(full)
        except NoCapacity as misfit:
            refused[site.name] = Refusal(Constraint.CLAIM, misfit.detail)
            told = misfit
        else:
            refused |= {other.name: _behind(other, choice.loads[other.id]) for other in choice.ranked[index + 1 :]}
            _note(holder_id, wanted, site, refused, choice)
            _take_note(found, site, wanted)
            return host
    refusal = told or _explained(wanted, found, refused)
    refusal.decision = Decision(holder_id, wanted, refused)
    raise refusal


def _explained(wanted: Wanted, found: list[Site], refused: Mapping[str, Refusal]) -> NoCapacity:
    why = explain(wanted, found, refused)
    return NoCapacity(why.words, extra=why.extra)


def _take_note(found: list[Site], site: Site, wanted: Wanted) -> None:
    """Whoever goes by what is known knows of this claim as well."""
    used = {name: site.used.get(name, 0) + wanted.amounts.get(name, 0) for name in {*site.used, *wanted.amounts}}
    found[found.index(site)] = replace(site, used=used)


def place_on(host: Host, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """Claim `wanted` on this host, for what can be nowhere else. Raises NoCapacity."""
    if not host.takes_machines:
        raise NoCapacity("The host of this machine takes no new machines at the moment. Try again later.")
    resize(host, holder_id, wanted)


def resize(host: Host, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """Change what a machine claims of the host it is on. Raises NoCapacity."""
    try:
        ledger.hold(host.pk, holder_id, wanted, host.capacity)
    except ledger.Exceeded as refusal:
        raise full_words(refusal) from refusal


def sites(uses_reserve: bool = False) -> list[Site]:
    """All hosts as `choose` judges them, in three queries."""
    hosts, clusters = list(Host.objects.defer("verdicts", "cpu_models")), Cluster.objects.in_bulk()
    for host in hosts:
        host.cluster = clusters[host.cluster_id]
    used = ledger.used_by_account(host.pk for host in hosts)
    shares = {} if uses_reserve else _shares(hosts)
    return [_site(host, used.get(host.pk, {}), shares.get(host.cluster_id, {})) for host in hosts]


def _site(host: Host, used: Mapping[str, int], shares: Mapping[str, float]) -> Site:
    return Site(
        id=host.pk,
        name=host.name,
        cluster_id=host.cluster_id,
        state=host.state,
        is_packed=host.cluster.spread == Spread.PACK,
        is_ready=host.is_ready,
        is_unread=host.is_unknown,
        is_reachable=host.is_reachable,
        processor=host.accelerator,
        firmwares=frozenset(host.firmwares),
        labels=frozenset(host.labels),
        capacity=_claimable(host.capacity, shares),
        used=used,
    )


def _shares(hosts: Iterable[Host]) -> Mapping[UUID, Mapping[str, float]]:
    """Of each cluster that keeps a reserve, the share of every host's capacity that new machines may have.

    So much is kept on each host that all together have room for what was on the largest ones. A share is held by each
    host's own account, so no two claims can break it together.
    """
    members: dict[UUID, list[Host]] = defaultdict(list)
    for host in hosts:
        if host.cluster.failure_reserve and host.is_ready and host.state in _IN_SERVICE:
            members[host.cluster_id].append(host)
    return {id: {name: _share(own, name) for name in _RESERVED} for id, own in members.items()}


def _share(hosts: list[Host], resource: str) -> float:
    sizes = sorted((host.capacity[resource] or 0 for host in hosts), reverse=True)
    lost = sum(sizes[: hosts[0].cluster.failure_reserve])
    return 1 - lost / sum(sizes) if sum(sizes) else 0.0


def _claimable(capacity: Mapping[str, int | None], shares: Mapping[str, float]) -> dict[str, int]:
    return {name: int((amount or 0) * shares.get(name, 1.0)) for name, amount in capacity.items()}


class _Lost(Exception):
    """The host is not any more as it was when it was chosen."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _claim(site: Site, holder_id: UUID, wanted: Wanted, fits: Callable[[Host], object]) -> Host:
    """Under the host's account, whose writers wait: whoever changes its state or its policy takes that as well."""
    host = _locked(site.id)
    now = replace(_site(host, {}, {}), capacity=site.capacity)
    if host.cluster_id != site.cluster_id:
        raise _Lost(Refusal(Constraint.CLUSTER))
    if refusal := choose(wanted, [now]).refused.get(site.name):
        raise _Lost(refusal)
    limits = {name: min(site.capacity[name], amount or 0) for name, amount in host.capacity.items()}
    ledger.hold(host.pk, holder_id, wanted.amounts, limits)
    fits(host)
    return host


def _locked(host_id: UUID) -> Host:
    if not Host.objects.filter(pk=host_id).exists():
        raise _Lost(Refusal(Constraint.NOT_READY, "removed"))
    ledger.lock(host_id)
    return Host.objects.select_related("cluster").defer("verdicts", "cpu_models").get(pk=host_id)


def _behind(site: Site, load: float) -> Refusal:
    why = f"{load:.0%} full with it" if site.is_reachable else "does not answer"
    return Refusal(Constraint.RANK, why)


def _note(holder_id: UUID, wanted: Wanted, site: Site, refused: Mapping[str, Refusal], choice: Choice) -> None:
    policy = "packing" if site.is_packed else "spreading"
    alone = "the only host that would do" if len(choice.ranked) == 1 else f"first by {policy}"
    Placement.objects.create(
        holder_id=holder_id,
        title=wanted.title,
        host_id=site.id,
        host_name=site.name,
        reason=f"{alone}: {choice.loads[site.id]:.0%} full with it",
        wanted=_asked(wanted),
        refused=_by_constraint(refused),
        considered=len(refused) + 1,
    )
    forget_placements(holder_id, keep=KEPT_PER_HOLDER)


@transaction.atomic
def _note_refusal(decision: Decision, words: str) -> None:
    Placement.objects.create(
        holder_id=decision.holder_id,
        title=decision.wanted.title,
        reason=words[:500],
        wanted=_asked(decision.wanted),
        refused=_by_constraint(decision.refused),
        considered=len(decision.refused),
    )
    forget_refusals()


def _by_constraint(refused: Mapping[str, Refusal]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name, refusal in refused.items():
        found[refusal.constraint][name] = refusal.detail
    return found


def _asked(wanted: Wanted) -> dict[str, object]:
    """What was asked for, without what is left open."""
    own: dict[str, object] = {
        "firmware": wanted.firmware if wanted.firmware != "bios" else "",
        "labels": sorted(wanted.labels),
        "clusters": sorted(map(str, wanted.clusters)),
        "groups": sorted({*wanted.together, *wanted.apart.values()}),
    }
    return {**wanted.amounts, **{name: value for name, value in own.items() if value}}


_WORDS = {"vcpus": "vCPUs", "memory_mib": "MiB of memory", "disk_gib": "GiB of disk"}


def full_words(refusal: ledger.Exceeded) -> NoCapacity:
    resource, requested = refusal.extra["resource"], refusal.extra["requested"]
    return NoCapacity(
        f"No host has {requested} {_WORDS[resource]} free. Choose a smaller size, or try again later.",
        extra={"constraint": Constraint.CAPACITY, "resource": resource, "requested": requested},
    )
