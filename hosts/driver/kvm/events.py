"""Lifecycle events, from a connection of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from queue import SimpleQueue
from uuid import UUID

import libvirt

from hosts.driver import errors
from hosts.driver.kvm.connection import Calls, Session
from hosts.driver.kvm.domains import lookup, power_state
from hosts.driver.types import DomainEvent, PowerState

_POWER = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: PowerState.RUNNING,  # on its way down, not there
    libvirt.VIR_DOMAIN_EVENT_STOPPED: PowerState.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: None,
}
_STOPPED_BECAUSE = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: "migrated",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: "saved",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "failed",
}
# By number, as in virDomainEventType.
_KINDS = ("defined", "undefined", "started", "suspended", "resumed", "stopped", "shutdown", "pmsuspended", "crashed")
logger = logging.getLogger(__name__)


class EventCalls(Calls):
    def watch(self, on_event: Callable[[DomainEvent], None], on_lost: Callable[[], None]) -> Callable[[], None]:
        """Both are called from one thread of this watch's own, so that they may take their time."""
        watch = _Watch(self._connection.session(), on_event, on_lost)
        watch.start()
        return watch.stop


class _Watch:
    """libvirt's loop puts in, the watch's thread takes out. None in the queue is the end."""

    def __init__(self, session: Session, on_event: Callable[[DomainEvent], None], on_lost: Callable[[], None]) -> None:
        self._session, self._on_event, self._on_lost = session, on_event, on_lost
        self._queue: SimpleQueue[tuple[UUID, str, int, int, datetime] | None] = SimpleQueue()
        self._stopped = threading.Event()

    def start(self) -> None:
        try:
            self._session.run(self._register)
        except errors.DriverError:
            self._session.drop()
            raise
        threading.Thread(target=self._deliver, name="libvirt-watch", daemon=True).start()

    def stop(self) -> None:
        """No callback begins after this; one that has begun may still be running. Waits for nothing."""
        self._stopped.set()
        self._queue.put(None)

    def _register(self, connect: libvirt.virConnect) -> None:
        connect.registerCloseCallback(self._closed, None)
        self._session.before_close(libvirt.virConnect.unregisterCloseCallback)
        number = connect.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._changed, None)
        self._session.before_close(lambda connect: connect.domainEventDeregisterAny(number))

    def _changed(
        self, _connect: libvirt.virConnect, domain: libvirt.virDomain, event: int, detail: int, _opaque: None
    ) -> None:
        self._queue.put((UUID(bytes=domain.UUID()), domain.name(), event, detail, datetime.now(UTC)))

    def _closed(self, _connect: libvirt.virConnect, _reason: int, _opaque: None) -> None:
        self._queue.put(None)

    def _deliver(self) -> None:
        while (item := self._queue.get()) is not None and not self._stopped.is_set():
            try:
                self._tell(*item)
            except Exception:
                logger.exception("an event of domain %s", item[1])
        lost = not self._stopped.is_set()
        self._stopped.set()
        self._session.drop()
        if lost:
            self._on_lost()

    def _tell(self, uuid: UUID, name: str, event: int, detail: int, at: datetime) -> None:
        kind = _KINDS[event]
        reason = _STOPPED_BECAUSE.get(detail, kind) if event == libvirt.VIR_DOMAIN_EVENT_STOPPED else kind
        self._on_event(DomainEvent(uuid, name, self._power(uuid, event, detail), reason, at))

    def _power(self, uuid: UUID, event: int, detail: int) -> PowerState | None:
        if event == libvirt.VIR_DOMAIN_EVENT_DEFINED:
            return self._power_now(uuid)
        if event == libvirt.VIR_DOMAIN_EVENT_STOPPED and detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED:
            return PowerState.CRASHED
        return _POWER[event]

    def _power_now(self, uuid: UUID) -> PowerState | None:
        """A definition tells nothing of the power: a running domain can be redefined."""
        try:
            return self._session.run(lambda connect: power_state(*lookup(connect, uuid).state()))
        except errors.NotFound:
            return None
