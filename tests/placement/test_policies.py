"""No sequence of claims, releases and changes of mind breaks a policy; the books are those of the rows."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hosts.choice import Site
from hosts.models import Cluster, Host, HostState, Placement
from hosts.placement import NoCapacity, Wanted, place, place_on, resize, sites
from hosts.services import hosts as services
from portal.quotas import ledger
from portal.quotas.models import Claim
from portal.tenancy.gate import SYSTEM
from tests.world import World, make_host

pytestmark = pytest.mark.django_db

NAMES = ("p-one", "p-two", "p-three")
place_one = st.tuples(
    st.just("place"), st.integers(1, 4), st.sampled_from((128, 512, 1024)), st.sampled_from(("", "ssd"))
)
release_one = st.tuples(st.just("release"), st.integers(0, 30))
change_state = st.tuples(
    st.just("state"), st.sampled_from(NAMES), st.sampled_from((HostState.ENABLED, HostState.CORDONED))
)
race = st.tuples(st.just("race"), st.integers(1, 4), st.sampled_from((512, 1024)))
resize_one = st.tuples(
    st.just("resize"), st.integers(0, 30), st.integers(1, 4), st.sampled_from((128, 512, 1024, 2048))
)
clone_one = st.tuples(st.just("clone"), st.integers(0, 30))
steps = st.lists(st.one_of(place_one, place_one, resize_one, clone_one, release_one, change_state, race), max_size=25)


@pytest.fixture
def cluster(world: World) -> Cluster:
    services.set_state(actor=SYSTEM, host=world.host, state=HostState.CORDONED)
    cluster = world.cluster("pack")
    pool = [{"name": "berth", "capacity_bytes": 10 << 40, "available_bytes": 10 << 40}]
    for name, cpus, labels in zip(NAMES, (2, 4, 4), ([], ["ssd"], ["ssd", "gpu"]), strict=True):
        facts = {"cpus": cpus, "memory_mib": 3072, "cpu_ratio": 2, "pools": pool}
        make_host(name, cluster=cluster, labels=labels, **facts)
    return cluster


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, reserve=st.sampled_from((0, 1)), spread=st.sampled_from(("pack", "spread")))
def test_no_sequence_breaks_a_policy(
    cluster: Cluster, steps: list[tuple[Any, ...]], reserve: int, spread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(failure_reserve=reserve, spread=spread)
    with transaction.atomic():
        held: dict[UUID, tuple[str, str]] = {}
        for step in steps:
            _take(step, held, monkeypatch)
            _check(held, reserve)
        transaction.set_rollback(True)


def _take(step: tuple[Any, ...], held: dict[UUID, tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    what, *rest = step
    if what == "place":
        _place(held, *rest)
    elif what == "release" and held:
        holder = sorted(held)[rest[0] % len(held)]
        ledger.release(holder)
        del held[holder]
    elif what == "resize" and held:
        _resize(held, *rest)
    elif what == "clone" and held:
        _clone(held, *rest)
    elif what == "state":
        services.set_state(actor=SYSTEM, host=Host.objects.get(name=rest[0]), state=rest[1])
    elif what == "race":
        _race(held, *rest, monkeypatch)


def _place(held: dict[UUID, tuple[str, str]], vcpus: int, memory_mib: int, label: str = "") -> None:
    holder, labels = uuid4(), frozenset({label} - {""})
    wanted = Wanted({"vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": 1}, labels=labels)
    host, refusal = None, None
    try:
        with transaction.atomic():
            host = place(holder, wanted)
    except NoCapacity as found:
        refusal = found
    if host is None:
        assert refusal is not None
        assert refusal.extra["constraint"]
        assert not Claim.objects.filter(holder_id=holder).exists()
        assert not [site.name for site in sites() if labels <= site.labels and _has_room(wanted, site)]
        return
    assert host.state == HostState.ENABLED
    assert labels <= set(host.labels)
    held[holder] = (host.name, label)
    told = Placement.objects.get(holder_id=holder)
    others = [name for hosts in told.reasons.values() for name in hosts]
    assert sorted([*others, told.host_name]) == sorted(Host.objects.values_list("name", flat=True))


def _has_room(wanted: Wanted, site: Site) -> bool:
    free = {name: site.capacity[name] - site.used.get(name, 0) for name in wanted.amounts}
    return site.state == HostState.ENABLED and all(amount <= free[name] for name, amount in wanted.amounts.items())


def _resize(held: dict[UUID, tuple[str, str]], number: int, vcpus: int, memory_mib: int) -> None:
    holder = sorted(held)[number % len(held)]
    host = Host.objects.get(name=held[holder][0])
    before, after = ledger.held(host.pk, holder), {"vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": 1}
    try:
        with transaction.atomic():
            resize(host, holder, after)
    except NoCapacity:
        assert any(after[name] > before[name] for name in after)
        assert ledger.held(host.pk, holder) == before
    else:
        assert ledger.held(host.pk, holder) == after


def _clone(held: dict[UUID, tuple[str, str]], number: int) -> None:
    """Beside the one that it is made of, or nowhere."""
    source, clone = sorted(held)[number % len(held)], uuid4()
    host = Host.objects.get(name=held[source][0])
    wanted = ledger.held(host.pk, source)
    try:
        with transaction.atomic():
            place_on(host, clone, wanted)
    except NoCapacity:
        assert not Claim.objects.filter(holder_id=clone).exists()
    else:
        assert host.state == HostState.ENABLED
        held[clone] = held[source]


def _race(held: dict[UUID, tuple[str, str]], vcpus: int, memory_mib: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them choose by what was so before the first of them claimed."""
    before = sites()
    with monkeypatch.context() as stale:
        stale.setattr("hosts.sites.sites", lambda uses_reserve=False: before)
        for _ in range(3):
            holder = uuid4()
            try:
                with transaction.atomic():
                    host = place(holder, Wanted({"vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": 1}))
            except NoCapacity:
                assert not Claim.objects.filter(holder_id=holder).exists()
            else:
                held[holder] = (host.name, "")


def _check(held: dict[UUID, tuple[str, str]], reserve: int) -> None:
    now = [site for site in sites(uses_reserve=True) if site.name in NAMES]
    for site in now:
        for name, amount in site.used.items():
            assert amount <= site.capacity[name], f"{site.name} gives out more {name} than its policy allows"
    placed = [site.id for site in now]
    claimed = Claim.objects.filter(account_id__in=placed)
    assert set(claimed.values_list("holder_id", flat=True)) == set(held)
    if reserve:
        for name in ("vcpus", "memory_mib"):
            for lost in now:
                room = sum(site.capacity[name] for site in now if site is not lost)
                assert sum(site.used.get(name, 0) for site in now) <= room, f"no room for the machines of {lost.name}"
