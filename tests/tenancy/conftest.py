"""Second factors without an app: rows as allauth has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator

from tests.world import World

GiveFactor = Callable[[str], Authenticator]


@pytest.fixture
def give_factor(world: World) -> GiveFactor:
    """`give_factor("owner")`: that person has an authenticator app from now on."""

    def give(person: str) -> Authenticator:
        user = world.people[person]
        return Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "none"})

    return give
