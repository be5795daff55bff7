"""For all tests: a private Redis, and the small world of people and machines that most of them speak of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from portal.events import triggers
from tests.private_redis import PrivateRedis
from tests.world import Caller, World
from tests.world_copy import fresh_world

# Folders whose tests share what takes long to start.
LONG = ("service", "browser", "backup", "faults", "live", "driver")

_redis: PrivateRedis | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", action="store_true", help="the whole fault matrix, and the proof that it notices")
    parser.addoption("--soak", action="store_true", help="the soak, and long random histories")
    parser.addoption("--minutes", type=float, default=10, help="how long the soak goes on")


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is imported, in each process of xdist for itself."""
    global _redis
    if not config.option.collectonly and not _is_only_the_controller(config):
        _redis = PrivateRedis()
        _redis.use()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Folder by folder, so that a portal of one folder's own is stopped before the next one's is started.

    The longest come first: where several processes share the tests, file by file, none is left alone with one of them.
    Tests there share hosts and machines, and run as they are written, so that a failure comes again; the others are
    shuffled.
    """
    written = {item: number for number, item in enumerate(items)}
    yield
    for mark in ("faults", "soak"):
        if not config.getoption(f"--{mark}"):
            items[:] = [item for item in items if item.get_closest_marker(mark) is None]
    folders = list(dict.fromkeys(item.path.parent for item in items))
    items.sort(key=lambda item: (_place(item), folders.index(item.path.parent), written[item] if _is_long(item) else 0))


def _is_long(item: pytest.Item) -> bool:
    return item.path.parent.name in LONG


def _place(item: pytest.Item) -> int:
    return LONG.index(item.path.parent.name) if _is_long(item) else len(LONG)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In the workers of xdist as well, which are never unconfigured."""
    if _redis is not None:
        _redis.stop()


def _is_only_the_controller(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Tests that commit empty all tables afterwards: the log as well, which only here may be emptied."""
    with django_db_blocker.unblock(), connection.schema_editor() as editor:
        triggers.remove(None, editor, only="DELETE")


@pytest.fixture
def world(db: None, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> World:
    settings.INTAKE_DIR, settings.IMAGE_DIR = (tmp_path_factory.mktemp(name) for name in ("intake", "images"))
    return fresh_world()


@pytest.fixture
def call(world: World) -> Callable[..., Caller]:
    """`call("owner")` is the API as that person's program calls it; `call()` is anybody from outside."""
    return world.caller
