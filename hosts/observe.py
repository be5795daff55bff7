"""Watching hosts: their event stream, and one bulk reading per interval for what events missed.

Apps that stand on hosts (vms) register as listeners; nothing here knows of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from hosts.connections import driver_for
from hosts.driver.base import Driver
from hosts.driver.errors import DriverError, Timeout, Unreachable
from hosts.driver.types import DomainEvent, DomainState, Lease
from hosts.metering import Meter, Sample
from hosts.models import Host
from portal.core.connection import release, released
from portal.events import live

POLL_SECONDS = 5.0
MOST_BETWEEN_SECONDS = 30.0
ROUND_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Reading:
    """All domains and DHCP leases of a host, as they were at some moment not before `at`."""

    at: datetime
    states: Sequence[DomainState]
    leases: Sequence[Lease]


SampleListener = Callable[[Host, Sample], None]
EventListener = Callable[[Host, DomainEvent], None]
ReadingListener = Callable[[Host, Reading], None]
event_listeners: list[EventListener] = []
reading_listeners: list[ReadingListener] = []
sample_listeners: list[SampleListener] = []
# Called one round after the other beside the watchers, for slower looks at all hosts together.
round_listeners: list[Callable[[], None]] = []
# Each in a thread of its own, until the event is set.
watches: list[Callable[[threading.Event], None]] = []
logger = logging.getLogger(__name__)


class Silence:
    """How long a host did not answer though it was asked. `now` is by the monotonic clock.

    It grows from one failed attempt to the next, by so much at most: time in which nobody asked, as while this process
    was stopped, says nothing of the host.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._failed_at: float | None = None

    def failed(self, now: float) -> None:
        if self._failed_at is not None:
            self.seconds += min(now - self._failed_at, MOST_BETWEEN_SECONDS)
        self._failed_at = now

    def answered(self) -> None:
        self.seconds, self._failed_at = 0.0, None


_silences: dict[UUID, Silence] = {}


def silence_of(host_id: UUID) -> float:
    """Seconds for which the watcher in this process got no answer; 0 where the last attempt had one."""
    return _silences[host_id].seconds if host_id in _silences else 0.0


class HostWatcher:
    """One host's thread: events while the connection lasts, and a poll that also notices when it does not."""

    def __init__(self, host: Host, stop: threading.Event) -> None:
        self.host = host
        self._stop = stop
        self._unwatch: Callable[[], None] | None = None
        self._is_lost = threading.Event()
        self._is_removed = False
        self._meter = Meter()
        self._silence = _silences[host.pk] = Silence()

    def run(self) -> None:
        """Until `stop` is set, or the host is removed."""
        while not self._stop.is_set() and not self._is_removed:
            with released():
                self._guarded_turn()
            self._stop.wait(POLL_SECONDS)
        self._stop_watching()
        _silences.pop(self.host.pk, None)

    def _guarded_turn(self) -> None:
        try:
            self._turn()
        except DriverError as error:
            self._stop_watching()
            if isinstance(error, Unreachable | Timeout):
                self._silence.failed(time.monotonic())
            self._note(error=str(error))
        except Host.DoesNotExist:
            self._is_removed = True
        except Exception:
            logger.exception("watching %s", self.host.name)

    def _turn(self) -> None:
        driver = driver_for(self.host)
        self.host.refresh_from_db()
        release()  # the host may take its time to answer
        self._watch(driver)
        at, states = timezone.now(), driver.list_domains()
        self._silence.answered()
        leases = driver.leases(self.host.network_name) if self.host.network_cidr else []
        for listener in reading_listeners:
            listener(self.host, Reading(at, states, leases))
        self._note(error="")
        self._measure(driver)

    def _measure(self, driver: Driver) -> None:
        """Once in a minute. A host that does not tell in time is no less reachable for that."""
        try:
            sample = self._meter.take(driver, timezone.now())
        except DriverError as error:
            logger.warning("counters of %s: %s", self.host.name, error)
            return
        if sample is not None:
            for listener in sample_listeners:
                listener(self.host, sample)

    def _on_event(self, event: DomainEvent) -> None:
        with released():
            try:
                for listener in event_listeners:
                    listener(self.host, event)
            except Exception:  # the next poll brings what this event told
                logger.exception("event of %s", self.host.name)

    def _watch(self, driver: Driver) -> None:
        """Anew after a loss, of which another thread tells, perhaps before `watch` has returned."""
        if self._unwatch is not None and not self._is_lost.is_set():
            return
        self._stop_watching()
        self._is_lost = threading.Event()
        self._unwatch = driver.watch(self._on_event, self._is_lost.set)

    def _stop_watching(self) -> None:
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None:
            unwatch()

    def _note(self, error: str) -> None:
        rows = Host.objects.filter(pk=self.host.pk)
        if error:
            rows.update(last_error=error[:300])
        else:
            rows.update(seen_at=timezone.now())
            rows.exclude(accelerator="").exclude(last_error="").update(last_error="")
        live.tell(None, f"host:{self.host.pk}")


def go_rounds(stop: threading.Event) -> None:
    while not stop.wait(ROUND_SECONDS):
        with released():
            _go_round()


def _go_round() -> None:
    for listener in round_listeners:
        try:
            listener()
        except Exception:  # the next round sees what this one did not
            logger.exception("a round over all hosts")


def watch_all(stop: threading.Event) -> None:
    """A watcher for each host, also for those added later, and all `watches`; returns when `stop` is set."""
    for work in (go_rounds, *watches):
        threading.Thread(target=work, args=(stop,), name=work.__name__, daemon=True).start()
    watched: dict[object, threading.Thread] = {}
    while not stop.is_set():
        for host in Host.objects.exclude(pk__in=list(watched)):
            thread = threading.Thread(target=HostWatcher(host, stop).run, name=f"watch-{host.name}", daemon=True)
            thread.start()
            watched[host.pk] = thread
        release()
        stop.wait(POLL_SECONDS)
