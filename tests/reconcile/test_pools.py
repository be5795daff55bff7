"""Storage that a host has lost is no way to what lies there, until it is back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hosts import pool_watch, reach
from hosts.connections import driver_for
from hosts.driver import errors, memory
from hosts.driver.memory import MemoryHost
from hosts.models import Host, StoragePool
from hosts.pool_watch import MISSING, OTHER, UNMOUNTED, TokenRounds
from hosts.services.hosts import preflight
from hosts.services.pools import REMOVING, RegisterPool, register_pool, remove_pool
from portal.operations import engine
from portal.tenancy.gate import SYSTEM
from tests.audit.mirror import beside
from tests.world import World

pytestmark = pytest.mark.django_db
Turn = Callable[[], list[str]]


@pytest.fixture
def near(world: World, host: MemoryHost) -> Host:
    """It sees the same storage."""
    return beside(world)


def error_on(host: Host) -> str:
    return host.default_pool.error


def reaches(host: Host, world: World) -> bool:
    """Whether it is a way to what lies in the pool of the world's host."""
    return bool(reach.counterparts([world.host.default_pool], host))


def check(host: Host) -> None:
    operation = preflight(actor=SYSTEM, host=host)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == "succeeded"


def unmount(host: Host) -> None:
    """An empty directory is left where the storage was."""
    found = memory.host(host.uri)
    found.volumes, found.contents = {}, {}


def test_a_lost_mount_is_noticed_and_its_return(world: World, turn: Turn, near: Host) -> None:
    found = memory.host(near.uri)
    volumes, contents = found.volumes, found.contents
    turn()
    assert reaches(near, world)
    unmount(near)
    turn()
    assert error_on(near) == UNMOUNTED
    assert not reaches(near, world)
    found.volumes, found.contents = volumes, contents
    turn()
    assert error_on(near) == ""
    assert reaches(near, world)


def test_a_pool_that_is_gone(world: World, turn: Turn, near: Host) -> None:
    path = memory.host(near.uri).pools.pop("berth")
    turn()
    assert error_on(near) == MISSING
    driver_for(near).ensure_pool("berth", Path(path))
    turn()
    assert error_on(near) == ""


def test_another_storage_at_its_path(world: World, turn: Turn, near: Host) -> None:
    storage_id = near.default_pool.storage_id
    unmount(near)
    driver_for(near).upload("berth", reach.TOKEN, b"f" * 32, "raw")
    TokenRounds().turn()
    turn()  # the file is there, whatever it says
    assert error_on(near) == OTHER
    assert near.default_pool.storage_id == storage_id
    assert not reaches(near, world)
    driver_for(near).upload("berth", reach.TOKEN, storage_id.encode(), "raw")
    TokenRounds().turn()
    assert error_on(near) == ""


@pytest.mark.parametrize("there", ["nothing", "another"])
def test_a_check_blesses_no_other_storage(world: World, near: Host, there: str) -> None:
    """An empty directory is where the storage was mounted, or another disk is."""
    found, storage_id = memory.host(near.uri), near.default_pool.storage_id
    volumes, contents = found.volumes, found.contents
    unmount(near)
    if there == "another":
        driver_for(near).upload("berth", reach.TOKEN, b"f" * 32, "raw")
    before = set(found.volumes)
    check(near)
    assert error_on(near) == (UNMOUNTED if there == "nothing" else OTHER)
    assert near.default_pool.storage_id == storage_id
    assert set(found.volumes) == before
    assert not reaches(near, world)
    found.volumes, found.contents = volumes, contents
    check(near)
    assert error_on(near) == ""
    assert reaches(near, world)


def test_a_check_that_cannot_read_the_token_says_so(world: World, near: Host) -> None:
    storage_id = near.default_pool.storage_id
    memory.host(near.uri).fail_next("download", errors.DriverError("no permission"))
    check(near)
    assert "no permission" in error_on(near)
    assert near.default_pool.storage_id == storage_id
    check(near)
    assert error_on(near) == ""


def test_another_disk_is_had_by_adding_the_pool_anew(world: World, near: Host) -> None:
    request = RegisterPool(name="fast", storage_class="standard", path="/srv/fast")
    pool, operation = register_pool(actor=SYSTEM, host=near, request=request)
    engine.run(operation.pk)
    pool.refresh_from_db()
    memory.host(near.uri).volumes.pop(("fast", reach.TOKEN))
    check(near)
    assert StoragePool.objects.get(pk=pool.pk).error == UNMOUNTED
    engine.run(remove_pool(actor=SYSTEM, pool=pool).pk)
    again, operation = register_pool(actor=SYSTEM, host=near, request=request)
    engine.run(operation.pk)
    again.refresh_from_db()
    assert again.is_ready
    assert again.storage_id not in ("", pool.storage_id)


def test_tokens_are_read_every_few_minutes(world: World, near: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    monkeypatch.setattr(pool_watch, "trouble_with", lambda driver, pool: reads.append(pool.name) or "")
    rounds = TokenRounds()
    rounds.turn()
    rounds.turn()
    assert reads == ["berth", "berth"]


def test_what_somebody_else_says_of_it_stays(world: World, turn: Turn, near: Host) -> None:
    StoragePool.objects.filter(host=near).update(error=REMOVING)
    turn()
    TokenRounds().turn()
    assert error_on(near) == REMOVING


def test_a_host_that_does_not_tell_is_not_judged(world: World, near: Host) -> None:
    memory.host(near.uri).fail_next("download", errors.Timeout("slow"))
    TokenRounds().turn()
    assert error_on(near) == ""
