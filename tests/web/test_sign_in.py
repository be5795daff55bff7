"""Signing in while what sign-in leans on is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client

from portal.accounts.models import User
from portal.core.cache import ForgivingRedisCache

pytestmark = pytest.mark.django_db


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process talks to a server that is not there."""
    monkeypatch.setattr(ForgivingRedisCache, "_away_until", 0.0)
    gone: Any = ForgivingRedisCache("unix:///nowhere/redis.sock", {"OPTIONS": {"socket_connect_timeout": 1}})
    there = caches["default"]
    caches["default"] = gone
    yield
    caches["default"] = there


@pytest.mark.usefixtures("no_cache")
def test_signing_in_needs_no_cache(client: Client) -> None:
    User.objects.create_user("ann", password="correct horse battery")
    answer = client.post("/accounts/login/", {"login": "ann", "password": "correct horse battery"})
    assert answer.status_code == 302, "its rate limit is without a memory for that time"
    assert ForgivingRedisCache._away_until > 0, "the cache was asked"


def test_password_managers_know_the_fields(client: Client) -> None:
    page = client.get("/accounts/login/").content.decode()
    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page
