"""For all tests: a private Redis, and the small world of people and machines that most of them speak of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.private_redis import PrivateRedis
from tests.world import Caller, World, make_world

_redis: PrivateRedis | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is imported, in each process of xdist for itself."""
    global _redis
    if not config.option.collectonly and not _is_only_the_controller(config):
        _redis = PrivateRedis()
        _redis.use()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: from the first of them on, Playwright keeps an event loop running in this thread."""
    items.sort(key=lambda item: "browser" in item.keywords)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In the workers of xdist as well, which are never unconfigured."""
    if _redis is not None:
        _redis.stop()


def _is_only_the_controller(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def call(world: World) -> Callable[..., Caller]:
    """`call("owner")` is the API as that person's program calls it; `call()` is anybody from outside."""
    return world.caller
