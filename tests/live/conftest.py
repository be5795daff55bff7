"""A real Redis and a real uvicorn for this folder; each test makes its rows in that portal's database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connections

from tests.live.site import Site


@pytest.fixture(scope="package")
def live_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("live"), secret_key=settings.SECRET_KEY)
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def site(live_site: Site, django_db_blocker: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The portal; the default database of this process is the one that it uses."""
    values = {**connections["default"].settings_dict, "ENGINE": "django.db.backends.sqlite3"}
    values |= {"NAME": live_site.database, "OPTIONS": {"timeout": 20}}
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the event loop is the test's own: it may wait
    monkeypatch.setitem(connections.settings, "default", values)  # for connections made later, in coroutines
    before, own = connections["default"], connections.create_connection("default")
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        connections["default"] = own
        try:
            yield live_site
        finally:
            own.close()
            connections["default"] = before
