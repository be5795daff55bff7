"""The portal's own application, over machines of this test's making, with shorter waits where only waiting is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portal.asgi import application
from portal.events import hub, stream
from tests.live.machines import Machines
from vms.console import bridge

if TYPE_CHECKING:
    from hosts.driver.base import Driver
    from hosts.models import Host

__all__ = ["application"]
real_driver_for = bridge.driver_for


def driver_for(host: Host) -> Driver | Machines:
    """Real hosts stay real."""
    return Machines(host.name) if host.uri.startswith("memory://") else real_driver_for(host)


hub.REVIEW_SECONDS = 1.0
stream.HEARTBEAT_SECONDS = 1.0
bridge.OPEN_SECONDS = 3.0
bridge.driver_for = driver_for  # type: ignore[assignment]
