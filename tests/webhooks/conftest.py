"""A receiver on loopback that webhooks may reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    with receiving() as found:
        settings.WEBHOOK_URL_HTTP, settings.WEBHOOK_URL_ALLOW = True, [found.place]
        yield found
