"""The portal's own application, over machines of this test's making, with shorter waits where only waiting is saved."""

from __future__ import annotations

from portal.asgi import application
from portal.events import hub, stream
from tests.live.machines import Machines
from vms.console import bridge

hub.REVIEW_SECONDS = 1.0
stream.HEARTBEAT_SECONDS = 1.0
bridge.OPEN_SECONDS = 3.0
bridge.driver_for = lambda host: Machines(host.name)  # type: ignore[assignment, return-value]

__all__ = ["application"]
