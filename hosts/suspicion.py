"""Watching for hosts that fail: asks what hosts.failure judges by, notes the verdict, and tells who acts on it.

Held by the observer, which alone knows for how long a host did not answer while it was asked.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from hosts import agent_tests, fence_trust, fencing
from hosts.failure import Power, Signs, Verdict, is_cut_off, is_long, judge, words
from hosts.models import Failover, FenceAgent, Host, HostState
from hosts.observe import silence_of
from hosts.uris import DEFAULT_PORTS
from portal.core.connection import release, released
from portal.events import live, log
from portal.tenancy.gate import SYSTEM

ROUND_SECONDS = 5.0
CONNECT_SECONDS = 3.0
MOST_AT_ONCE = 16
_NOBODY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN)
T = TypeVar("T")
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
    """Hosts are judged before agents are tested, and each as soon as its own signs are known: an agent that takes its
    time, or raises, delays no failure of another's host."""
    rows = list(Host.objects.select_related("cluster", "fence_agent").exclude(checked_at=None))
    release()  # agents and addresses take their time to answer
    watched = [host for host in rows if host.state not in (HostState.MAINTENANCE, HostState.FAILED)]
    silences = {host.pk: silence_of(host.pk) for host in watched}
    cut_off = _cut_off(watched, silences)
    silent: list[Host] = []
    for host in watched:
        is_cut_off, is_silent = host.cluster_id in cut_off, is_long(silences[host.pk], host.cluster.failover_after)
        if is_silent and not is_cut_off:
            silent.append(host)
        else:
            _guarded(_look_at, host, Signs(silences[host.pk]), is_cut_off)
    for host, (power, is_alive) in _at_once(_second_signs, silent):
        _guarded(_look_at, host, Signs(silences[host.pk], is_alive, power))
    for host in rows:
        if host.has_failed and _is_back(host):
            _tell(returned_listeners, host)
    overdue = sorted((host for host in rows if agent_tests.is_overdue(_agent(host))), key=agent_tests.turn)
    for host, tried in _at_once(agent_tests.ask, overdue[:MOST_AT_ONCE]):
        _guarded(agent_tests.note, host, tried)


def _at_once(ask: Callable[[Host], T], hosts: Sequence[Host]) -> Iterator[tuple[Host, T]]:
    """Each with what was found, whoever is ready first. They are asked in threads, which look at no rows."""
    if not hosts:
        return
    with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="suspicion") as threads:
        futures = {threads.submit(_asked, ask, host): host for host in hosts}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except Exception:
                logger.exception("asking for %s", futures[future].name)


def _asked(ask: Callable[[Host], T], host: Host) -> T:
    with released():  # a driver that is opened reads what it is opened with
        return ask(host)


def _guarded(act: Callable[..., None], host: Host, *args: Any) -> None:
    try:
        act(host, *args)
    except Exception:
        logger.exception("looking at %s", host.name)


def _cut_off(hosts: Iterable[Host], silences: Mapping[UUID, float]) -> set[UUID]:
    """Clusters of which, or with all others of which, most hosts are silent."""
    by_cluster: dict[UUID, list[bool]] = defaultdict(list)
    for host in hosts:
        by_cluster[host.cluster_id].append(silences[host.pk] > 0)
    if is_cut_off(silent for those in by_cluster.values() for silent in those):
        return set(by_cluster)
    return {id for id, silent in by_cluster.items() if is_cut_off(silent)}


def _look_at(host: Host, signs: Signs, is_cut_off: bool = False) -> None:
    after, agent = host.cluster.failover_after, _agent(host)
    if agent is not None and signs.power is Power.OFF:
        signs = _weighed(agent, signs)
    verdict = judge(signs, after, is_eager=host.cluster.failover == Failover.EAGER)
    if is_cut_off and is_long(signs.silent_seconds, after):
        verdict = Verdict.CUT_OFF
    _note(host, verdict, signs)
    if verdict is Verdict.SUSPECTED and host.cluster.fails_over_by_itself:
        _tell(suspected_listeners, host)


def _weighed(agent: FenceAgent, signs: Signs) -> Signs:
    """Its agent says that it is off: whether that counts. It does not from now on where the address answered."""
    try:
        if signs.answers:
            fence_trust.note(agent, Power.OFF, fencing.fingerprint(agent))
        return replace(signs, is_proof=not fence_trust.why_no_proof(agent))
    except fencing.FencingError:
        return replace(signs, is_proof=False)


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
    try:
        address = _address(host.uri)
        if address is None:
            return None
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except TimeoutError:
        return False
    except ConnectionRefusedError:
        return True
    except OSError as error:  # its name cannot be looked up, or this machine has no network: that says nothing of it
        return False if error.errno in _NOBODY else None
    except ValueError:  # there is no such port, or no such name
        return None
    return True


def _address(uri: str) -> tuple[str, int] | None:
    parts = urlsplit(uri)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    return (parts.hostname, port) if parts.hostname and port is not None else None


def _agent(host: Host) -> FenceAgent | None:
    return getattr(host, "fence_agent", None)


def _second_signs(host: Host) -> tuple[Power | None, bool | None]:
    """What its agent says, and whether its address answers after that: one that says off is wrong then."""
    return _power(host), answers(host)


def _power(host: Host) -> Power | None:
    agent = _agent(host)
    try:
        return fencing.power(agent) if agent is not None else None
    except fencing.FencingError as error:
        logger.warning("fence agent of %s: %s", host.name, error)
        return None
