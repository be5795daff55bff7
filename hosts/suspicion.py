"""Watching for hosts that fail: asks what hosts.failure judges by, notes the verdict, and tells who acts on it.

Held by the observer, which alone knows for how long a host did not answer while it was asked.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from hosts import fencing
from hosts.failure import Power, Signs, Verdict, is_cut_off, is_long, judge, words
from hosts.models import Failover, FenceAgent, Host, HostState
from hosts.observe import silence_of
from hosts.uris import DEFAULT_PORTS
from portal.core.connection import release, released
from portal.events import live, log
from portal.tenancy.gate import SYSTEM

ROUND_SECONDS = 5.0
CONNECT_SECONDS = 3.0
TEST_EVERY = timedelta(minutes=10)
_NEVER = datetime.min.replace(tzinfo=UTC)
_NOBODY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN)
Listener = Callable[[Host], None]
# Each round, for a suspected host of a cluster whose failover is automatic; and for a failed one that answers again.
suspected_listeners: list[Listener] = []
returned_listeners: list[Listener] = []
logger = logging.getLogger(__name__)


def watch(stop: threading.Event) -> None:
    """Round after round, until `stop` is set."""
    while not stop.wait(ROUND_SECONDS):
        with released():
            try:
                go_round()
            except Exception:  # the next round sees what this one did not
                logger.exception("looking for hosts that failed")


def go_round() -> None:
    """Hosts are judged first: an agent that takes its time to answer delays no failure of another's host."""
    rows = list(Host.objects.select_related("cluster", "fence_agent").exclude(checked_at=None))
    release()  # agents and addresses take their time to answer
    watched = [host for host in rows if host.state not in (HostState.MAINTENANCE, HostState.FAILED)]
    silences = {host.pk: silence_of(host.pk) for host in watched}
    cut_off = _cut_off(watched, silences)
    for host in watched:
        _look_at(host, silences[host.pk], host.cluster_id in cut_off)
    for host in rows:
        if host.has_failed and _is_back(host):
            _tell(returned_listeners, host)
    if overdue := [host for host in rows if _is_overdue(_agent(host))]:
        _test_agent(min(overdue, key=lambda host: (host.fence_agent.tested_at or _NEVER, host.name)))


def _cut_off(hosts: Iterable[Host], silences: Mapping[UUID, float]) -> set[UUID]:
    """Clusters of which, or with all others of which, most hosts are silent."""
    by_cluster: dict[UUID, list[bool]] = defaultdict(list)
    for host in hosts:
        by_cluster[host.cluster_id].append(silences[host.pk] > 0)
    if is_cut_off(silent for those in by_cluster.values() for silent in those):
        return set(by_cluster)
    return {id for id, silent in by_cluster.items() if is_cut_off(silent)}


def _look_at(host: Host, silent_seconds: float, is_cut_off: bool) -> None:
    signs, after = Signs(silent_seconds), host.cluster.failover_after
    if is_cut_off and is_long(silent_seconds, after):
        _note(host, Verdict.CUT_OFF, signs)
        return
    if is_long(silent_seconds, after):
        signs = Signs(silent_seconds, answers(host), _power(host))
    verdict = judge(signs, after, is_eager=host.cluster.failover == Failover.EAGER)
    _note(host, verdict, signs)
    if verdict is Verdict.SUSPECTED and host.cluster.fails_over_by_itself:
        _tell(suspected_listeners, host)


def _note(host: Host, verdict: Verdict, signs: Signs) -> None:
    """The log has when it was suspected and when not any more; the row how things stand."""
    is_suspected = verdict is Verdict.SUSPECTED
    changed = is_suspected != (host.suspected_at is not None)
    if not changed and not is_suspected and words(verdict, signs) == host.suspicion:
        return
    since = (host.suspected_at or timezone.now()) if is_suspected else None
    with transaction.atomic():
        rows = Host.objects.filter(pk=host.pk).exclude(state=HostState.FAILED)
        if not rows.update(suspected_at=since, suspicion=words(verdict, signs)[:300]):
            return
        if changed:
            kind = "host.suspected" if is_suspected else "host.trusted"
            log.record(kind, actor=SYSTEM, target=host, detail=words(verdict, signs))
    live.tell(None, f"host:{host.pk}")


def _is_back(host: Host) -> bool:
    """It answers, and that is from after it was certain that it was off."""
    if host.seen_at is None or host.failed_at is None:
        return False
    return host.is_reachable and host.seen_at > host.failed_at


def _tell(listeners: Iterable[Listener], host: Host) -> None:
    for listener in listeners:
        try:
            listener(host)
        except Exception:
            logger.exception("acting on what became of %s", host.name)


def answers(host: Host) -> bool | None:
    """Whether its address takes connections, or at least refuses them: its kernel lives. None where it has none."""
    parts = urlsplit(host.uri)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    if not parts.hostname or port is None:
        return None
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except TimeoutError:
        return False
    except ConnectionRefusedError:
        return True
    except OSError as error:  # its name cannot be looked up, or this machine has no network: that says nothing of it
        return False if error.errno in _NOBODY else None
    return True


def _agent(host: Host) -> FenceAgent | None:
    return getattr(host, "fence_agent", None)


def _power(host: Host) -> Power | None:
    agent = _agent(host)
    try:
        return fencing.power(agent) if agent is not None else None
    except fencing.FencingError as error:
        logger.warning("fence agent of %s: %s", host.name, error)
        return None


def _is_overdue(agent: FenceAgent | None) -> bool:
    return agent is not None and (agent.tested_at is None or abs(timezone.now() - agent.tested_at) >= TEST_EVERY)


def _test_agent(host: Host) -> None:
    """Now and then, so that one that would not work is known before it is needed."""
    agent, now, power, problem = host.fence_agent, timezone.now(), "", ""
    try:
        power = str(fencing.power(agent))
    except fencing.FencingError as error:
        problem = str(error)
    if power == Power.OFF and host.is_reachable:
        problem = "It says that the host is off, and the host answers: it is another machine's agent."
    rows = FenceAgent.objects.filter(pk=agent.pk, agent=agent.agent, options=agent.options)
    rows.update(power=power, problem=problem, tested_at=now)
    live.tell(None, f"host:{host.pk}")
