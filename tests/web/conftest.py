"""The pages as people open them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from tests.world import World

Browser = Callable[[str], Client]


@pytest.fixture
def browser(world: World) -> Browser:
    """`browser("owner")` is that person signed in; `browser("")` is anybody from outside."""

    def signed_in(person: str) -> Client:
        client = Client(raise_request_exception=False)
        if person:
            client.force_login(world.people[person])
        return client

    return signed_in
