"""What a process knows of many hosts: shared by its threads, and no older than some seconds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import transaction

from hosts import sites as of_sites
from hosts.models import Host
from hosts.placement import NoCapacity, Wanted, place
from hosts.sites import Known, sites
from portal.quotas import ledger
from tests.world import World, make_host

pytestmark = pytest.mark.django_db

SIZE = Wanted({"vcpus": 1, "memory_mib": 128, "disk_gib": 1})


@pytest.fixture(autouse=True)
def keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_sites, "ALWAYS_READ", 0)
    monkeypatch.setattr(of_sites, "_known", {})


def used_of(host: Host) -> int:
    known = of_sites.known(uses_reserve=False)
    assert known is not None
    return next(site.used["vcpus"] for site in known.sites if site.id == host.pk)


@transaction.atomic
def claim(wanted: Wanted = SIZE) -> Host:
    return place(uuid4(), wanted)


def test_two_who_chose_by_the_same_reading_are_both_counted(world: World) -> None:
    """The second claims the host between the choice of the first one and its claim."""
    claim()
    before = used_of(world.host)

    def meanwhile(host: Host) -> None:
        place(uuid4(), SIZE)

    with transaction.atomic():
        place(uuid4(), SIZE, meanwhile)
    assert used_of(world.host) == before + 2 == ledger.used(world.host.pk)["vcpus"]


def test_threads_that_note_at_once_lose_nothing(world: World) -> None:
    known = Known(sites(), read_at=0)
    (site,) = known.sites
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: known.take(site, SIZE.amounts), range(400)))
    assert known.sites[0].used["vcpus"] == site.used["vcpus"] + 400


def test_it_is_read_once_for_some_seconds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    claim()
    reads: list[bool] = []
    monkeypatch.setattr(of_sites, "sites", lambda uses_reserve: reads.append(uses_reserve) or sites(uses_reserve))
    claim()
    assert reads == []
    monkeypatch.setattr(of_sites, "KNOWN_SECONDS", 0.0)
    claim()
    assert reads == [False]


def test_nobody_is_refused_by_what_is_known(world: World) -> None:
    ssd = Wanted(SIZE.amounts, labels=frozenset({"ssd"}))
    claim()
    host = make_host("two", labels=["ssd"])
    assert claim(ssd) == host
    with pytest.raises(NoCapacity):
        claim(Wanted(SIZE.amounts, labels=frozenset({"gpu"})))


def test_one_that_was_removed_is_passed_over(world: World) -> None:
    gone = make_host("aaa")
    of_sites.read(uses_reserve=False)
    Host.objects.filter(pk=gone.pk).delete()
    ledger.close_account(gone.pk)
    assert claim() == world.host
