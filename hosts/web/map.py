"""Hosts and clusters as the map draws them: for each resource what is guaranteed, committed and used.

Three measures of one thing: *guaranteed* is what was promised, of what a host has; *committed* what machines were
given, of what policy gives out; *used* what was measured, of what a host has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from hosts.map import Standing
from hosts.models import Cluster, FenceAgent, Host, HostState
from hosts.overcommit import LENDS_NOTHING
from hosts.service_class import WHOLE, limits
from hosts.spare import Spare
from hosts.web.presenters import HEALTH_LOOKS, STATE_LOOKS
from portal.core.units import GIB, GIB_IN_MIB, size


@dataclass(frozen=True)
class Bar:
    """`percent` of what there is; `words` as "12 of 64"."""

    measure: str
    words: str
    percent: int
    is_full: bool


@dataclass(frozen=True)
class Bars:
    resource: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Amounts:
    """Each with what it is a part of; `used` None: nothing was measured."""

    guaranteed: float
    of_promises: float
    committed: float
    of_policy: float
    used: float | None
    of_host: float

    def __add__(self, other: Amounts) -> Amounts:
        used = None if self.used is None and other.used is None else (self.used or 0) + (other.used or 0)
        return Amounts(
            self.guaranteed + other.guaranteed,
            self.of_promises + other.of_promises,
            self.committed + other.committed,
            self.of_policy + other.of_policy,
            used,
            self.of_host + other.of_host,
        )


NOTHING = Amounts(0, 0, 0, 0, None, 0)


@dataclass(frozen=True)
class HostOnMap:
    """`state` is "" for an enabled host, whose health alone tells. `fence_url` is where its fence agent is set, ""
    where nothing is amiss with that."""

    id: UUID
    name: str
    url: str
    health: str
    health_look: str
    state: str
    state_look: str
    labels: list[str]
    machines: int
    leaving: int
    arriving: int
    working: int
    seen_at: datetime | None
    fence_url: str
    bars: Sequence[Bars]


@dataclass(frozen=True)
class ClusterOnMap:
    """With its policy in words; `left_out` says which of its hosts its bars are without, `moving` what both hosts of a
    move hold room for; `network` and `cpu_model` are "" where nothing was chosen yet, `unfenced` where
    failover happens by itself for all its hosts, or for none."""

    id: UUID
    slug: str
    name: str
    placement: str
    network: str
    cpu_model: str
    ratios: str
    reserve: str
    failover: str
    unfenced: str
    spare_words: str
    spare_look: str
    machines: int
    moving: int
    left_out: str
    change_url: str
    remove_url: str
    bars: Sequence[Bars] = ()
    hosts: Sequence[HostOnMap] = field(default_factory=list)


def cluster(cluster: Cluster, standings: Mapping[UUID, Standing], spare: Spare) -> ClusterOnMap:
    hosts, reserve = list(cluster.hosts.all()), cluster.failure_reserve
    for host in hosts:
        host.cluster = cluster
    amounts = [_amounts(host, standings[host.pk]) for host in hosts]
    lending = [own for host, own in zip(hosts, amounts, strict=True) if host.state not in LENDS_NOTHING]
    together = {name: sum((each[name] for each in lending), NOTHING) for name in _WORDS}
    return ClusterOnMap(
        id=cluster.pk,
        slug=cluster.slug,
        name=cluster.name,
        placement=cluster.get_spread_display(),
        network=cluster.network_cidr,
        cpu_model=cluster.cpu_model,
        ratios=", ".join(f"{name} {ratio:g}" for name, ratio in cluster.class_ratios.items()),
        reserve=f"the worth of {reserve} {'host' if reserve == 1 else 'hosts'}" if reserve else "nothing",
        failover=cluster.get_failover_display(),
        unfenced=_unfenced_words(sum(map(_is_unfenced, hosts))),
        spare_words=_spare_words(spare),
        spare_look=_spare_look(spare),
        machines=sum(standings[host.pk].machines for host in hosts),
        moving=sum(standings[host.pk].moves.arriving for host in hosts),
        left_out=_left_out(hosts),
        change_url=reverse("cluster-change", args=[cluster.slug]),
        remove_url=reverse("cluster-remove", args=[cluster.slug]),
        bars=_bars(together) if len(hosts) > 1 and lending else (),
        hosts=[_host(host, standings[host.pk], own) for host, own in zip(hosts, amounts, strict=True)],
    )


def _left_out(hosts: Sequence[Host]) -> str:
    gone = [f"{host.name} ({host.state})" for host in hosts if host.state in LENDS_NOTHING]
    return f"All together, without {', '.join(gone)}" if gone else "All together"


def _is_unfenced(host: Host) -> bool:
    """Its cluster fails over by itself, and nothing could tell of this host that it is off."""
    agent: FenceAgent | None = getattr(host, "fence_agent", None)
    return host.cluster.fails_over_by_itself and not host.has_failed and not (agent and agent.works)


def _unfenced_words(count: int) -> str:
    if not count:
        return ""
    have = "one host has" if count == 1 else f"{count} hosts have"
    return (
        f"{have} no fence agent that works: nothing starts elsewhere before a person confirms that such a host is off"
    )


def _spare_look(spare: Spare) -> str:
    """Green only where nobody would be off."""
    return "attention" if spare.without_room or spare.refused or spare.local else "running"


def _spare_words(spare: Spare) -> str:
    """ "" where nothing runs."""
    if not spare.host:
        return ""
    told, taken = [], spare.machines - spare.refused
    if taken:
        told.append(f"the others would have room for {_machines(taken)}")
    if spare.without_room:
        told = [f"there would be no room for {spare.without_room} of {_machines(taken)}"]
    if spare.refused:
        told.append(f"{_machines(spare.refused)} would stay off: none of the others {'; or '.join(spare.reasons)}")
    if spare.local:
        told.append(f"{_machines(spare.local)} on local disks would be off")
    return f"If {spare.host} failed now, {', and '.join(told)}."


def _machines(count: int) -> str:
    return "one machine" if count == 1 else f"{count} machines"


def _host(host: Host, standing: Standing, amounts: Mapping[str, Amounts]) -> HostOnMap:
    return HostOnMap(
        id=host.pk,
        name=host.name,
        url=reverse("host-detail", args=[host.name]),
        health=host.health,
        health_look=HEALTH_LOOKS[host.health],
        state="" if host.state == HostState.ENABLED else host.state,
        state_look=STATE_LOOKS[host.state],
        labels=host.labels,
        machines=standing.machines,
        leaving=standing.moves.leaving,
        arriving=standing.moves.arriving,
        working=standing.working,
        seen_at=host.seen_at,
        fence_url=reverse("host-fence-agent", args=[host.name]) if _is_unfenced(host) else "",
        bars=_bars(amounts),
    )


def _amounts(host: Host, standing: Standing) -> dict[str, Amounts]:
    claimed, measured, capacity, promised = standing.claimed, standing.measured, host.capacity, limits(host)
    floors = claimed.get("cpu_floor", 0) + WHOLE * sum(name.startswith("cpu:") for name in claimed)
    stored = sum(int(pool["capacity_bytes"]) - int(pool.get("available_bytes") or 0) for pool in host.pools)
    return {
        "CPU": Amounts(
            guaranteed=floors / WHOLE,
            of_promises=host.cpus,
            committed=claimed.get("vcpus", 0),
            of_policy=capacity["vcpus"] or 0,
            used=measured.cpu if measured else None,
            of_host=host.cpus,
        ),
        "Memory": Amounts(
            guaranteed=claimed.get("reserved_mib", 0),
            of_promises=promised["reserved_mib"] or 0,
            committed=claimed.get("memory_mib", 0),
            of_policy=capacity["memory_mib"] or 0,
            used=measured.memory_mib if measured else None,
            of_host=host.memory_mib,
        ),
        "Storage": Amounts(
            guaranteed=0,
            of_promises=0,
            committed=GIB_IN_MIB * claimed.get("disk_gib", 0),
            of_policy=GIB_IN_MIB * (capacity["disk_gib"] or 0),
            used=stored * GIB_IN_MIB / GIB if host.pools else None,
            of_host=sum(int(pool["capacity_bytes"]) for pool in host.pools) * GIB_IN_MIB / GIB,
        ),
    }


def _bars(amounts: Mapping[str, Amounts]) -> list[Bars]:
    return [Bars(name, list(_of(name, each))) for name, each in amounts.items()]


def _of(resource: str, amounts: Amounts) -> list[Bar]:
    """Disks are thin, and nothing is guaranteed of them."""
    words = _WORDS[resource]
    bars = [_bar("committed", amounts.committed, amounts.of_policy, words)]
    if resource != "Storage":
        bars.insert(0, _bar("guaranteed", amounts.guaranteed, amounts.of_promises, words))
    if amounts.used is not None:
        bars.append(_bar("used", amounts.used, amounts.of_host, words))
    return bars


def _bar(measure: str, amount: float, most: float, words: Words) -> Bar:
    percent = round(100 * amount / most) if most else 0
    return Bar(measure, f"{words(amount)} of {words(most)}", min(percent, 100), is_full=percent >= 100)


def _size(mib: float) -> str:
    return size(round(mib * GIB / GIB_IN_MIB))


def _cpus(amount: float) -> str:
    return f"{amount:.1f}".removesuffix(".0")


Words = Callable[[float], str]
_WORDS: Mapping[str, Words] = {"CPU": _cpus, "Memory": _size, "Storage": _size}
