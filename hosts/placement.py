"""Placing machines: choose a host, claim it and note why, in the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.db import transaction

from hosts import resources
from hosts import sites as of_sites
from hosts.choice import SMALLER, Choice, Constraint, Refusal, Site, Wanted, choose, explain
from hosts.models import Host, Placement
from hosts.models.placement import KEPT_PER_HOLDER, forget_placements, forget_refusals
from hosts.sites import Known, sites
from portal.core.errors import Conflict
from portal.quotas import ledger

__all__ = ["NoCapacity", "Wanted", "place", "place_on", "resize", "sites"]


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
    known = of_sites.known(wanted.uses_reserve)
    if known is not None:
        with suppress(NoCapacity):  # there may be more by now than is known
            return _place(holder_id, wanted, fits, known)
    return _place(holder_id, wanted, fits, of_sites.read(wanted.uses_reserve))


def _place(holder_id: UUID, wanted: Wanted, fits: Callable[[Host], object], known: Known) -> Host:
    found = known.sites
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
            told = told or _full("No host has", full)
        except NoCapacity as misfit:
            refused[site.name] = Refusal(Constraint.CLAIM, misfit.detail)
            told = misfit
        else:
            known.take(site, wanted.amounts)
            _note(holder_id, wanted, choice, index, refused)
            return host
    refusal = told or _explained(wanted, found, refused)
    refusal.decision = Decision(holder_id, wanted, refused)
    raise refusal


def _explained(wanted: Wanted, found: list[Site], refused: Mapping[str, Refusal]) -> NoCapacity:
    why = explain(wanted, found, refused)
    return NoCapacity(why.words, extra=why.extra)


def place_on(host: Host, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """Claim `wanted` on this host, for what can be nowhere else. Raises NoCapacity."""
    now = _locked(host.pk)
    if not now.takes_machines:
        raise NoCapacity("The host of this machine takes no new machines at the moment. Try again later.")
    _hold(now, holder_id, wanted)


def resize(host: Host, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """Change what a machine claims of the host it is on. Raises NoCapacity."""
    _hold(_locked(host.pk), holder_id, wanted)


def _hold(host: Host, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """What grows leaves the reserve for failures alone, as what is new does."""
    try:
        ledger.hold(host.pk, holder_id, wanted, of_sites.limits_of(host))
    except ledger.Exceeded as refusal:
        raise _full("Its host does not have", refusal) from refusal


class _Lost(Exception):
    """The host is not any more as it was when it was chosen."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _claim(site: Site, holder_id: UUID, wanted: Wanted, fits: Callable[[Host], object]) -> Host:
    """Under the host's account, whose writers wait: whoever changes its state or its policy takes that as well."""
    try:
        host = _locked(site.id)
    except ledger.NoAccount:
        raise _Lost(Refusal(Constraint.NOT_READY, "removed")) from None
    if host.cluster_id != site.cluster_id:
        raise _Lost(Refusal(Constraint.CLUSTER))
    if refusal := choose(wanted, [of_sites.site_of(host, site.capacity, {})]).refused.get(host.name):
        raise _Lost(refusal)
    limits = {name: min(site.capacity[name], amount or 0) for name, amount in host.capacity.items()}
    ledger.hold(host.pk, holder_id, wanted.amounts, limits)
    fits(host)
    return host


def _locked(host_id: UUID) -> Host:
    """The host as it is, and stays until the transaction ends. Raises NoAccount for one that was removed."""
    ledger.lock(host_id)
    return Host.objects.select_related("cluster").defer("verdicts", "cpu_models").get(pk=host_id)


def _note(holder_id: UUID, wanted: Wanted, choice: Choice, index: int, refused: Mapping[str, Refusal]) -> None:
    """That the host at `index` of those that would do was taken; those before it were refused when it was claimed."""
    site, load = choice.ranked[index], choice.loads[index]
    policy = "packing" if site.is_packed else "spreading"
    alone = "the only host that would do" if len(choice.ranked) == 1 else f"first by {policy}"
    behind: dict[str, list[str]] = defaultdict(list)
    for other, its_load in zip(choice.ranked[index + 1 :], choice.loads[index + 1 :], strict=True):
        words = _load_words(round(100 * its_load)) if other.is_reachable else "does not answer"
        behind[words].append(other.name)
    Placement.objects.create(
        holder_id=holder_id,
        title=wanted.title,
        host_id=site.id,
        host_name=site.name,
        reason=f"{alone}: {_load_words(round(100 * load))}",
        wanted=_asked(wanted),
        refused={**_by_reason(refused), **({Constraint.RANK: behind} if behind else {})},
        considered=len(refused) + len(choice.ranked) - index,
    )
    forget_placements(holder_id, keep=KEPT_PER_HOLDER)


@cache
def _load_words(percent: int) -> str:
    return f"{percent}% full with it"


@transaction.atomic
def _note_refusal(decision: Decision, words: str) -> None:
    """In the place of the same refusal of the same machine, which is tried again and again."""
    Placement.objects.filter(holder_id=decision.holder_id, host_name="", reason=words[:500]).delete()
    Placement.objects.create(
        holder_id=decision.holder_id,
        title=decision.wanted.title,
        reason=words[:500],
        wanted=_asked(decision.wanted),
        refused=_by_reason(decision.refused),
        considered=len(decision.refused),
    )
    forget_refusals()


def _by_reason(refused: Mapping[str, Refusal]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, refusal in refused.items():
        found[refusal.constraint][refusal.detail].append(name)
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


def _full(where: str, refusal: ledger.Exceeded) -> NoCapacity:
    """`where`: No host has."""
    resource, requested = refusal.extra["resource"], refusal.extra["requested"]
    return NoCapacity(
        f"{where} {resources.amount(resource, requested)} free. {SMALLER}",
        extra={"constraint": Constraint.CAPACITY, "resource": resource, "requested": requested},
    )
