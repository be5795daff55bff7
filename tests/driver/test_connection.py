"""A connection that several threads use at once."""

from __future__ import annotations

import gc
import threading
from contextlib import suppress
from weakref import ref as weakref

import libvirt
import pytest

from hosts.driver import errors
from hosts.driver.kvm.connection import Session
from tests.stack import wait_until


class Closed:
    """What libvirt makes of a connection that was closed."""

    def isAlive(self) -> int:
        raise libvirt.libvirtError("invalid connection pointer in virConnectIsAlive")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(Session, "__init__", lambda self: None)
    libvirt.virResetLastError()  # the thread may hold one of another test's, which would take the place of those here
    session = Session()  # type: ignore[call-arg]
    session._connect, session._lock, session._users = Closed(), threading.Lock(), 1  # type: ignore[assignment]
    session._dropped, session._farewells, session._turn = False, [], threading.Lock()
    return session


def test_a_call_on_a_connection_that_another_thread_has_closed_is_unreachable(session: Session) -> None:
    """And no error of libvirt's own, which would end an operation as if Berth were broken."""

    def call(connect: libvirt.virConnect) -> None:
        session._dropped = True
        raise libvirt.libvirtError("Cannot recv data: Connection reset by peer")

    with pytest.raises(errors.Unreachable):
        session.run(call)


def test_calls_go_one_after_the_other_and_not_at_all_once_it_was_dropped(session: Session) -> None:
    """Two at once make libvirt 9.0 end the process when a daemon that hung goes on."""
    begun, go_on, ran = threading.Event(), threading.Event(), []

    def hang(connect: libvirt.virConnect) -> None:
        begun.set()
        go_on.wait(10)

    with pytest.raises(errors.Timeout):
        session.run(hang, 0.1)
    assert begun.is_set()
    session._dropped = False

    def wait() -> None:
        with pytest.raises(errors.Unreachable):
            session.run(ran.append, 5)

    waiting = threading.Thread(target=wait)
    waiting.start()
    session._dropped = True
    go_on.set()
    waiting.join(10)
    assert ran == []


def test_an_error_is_in_no_cycle_with_the_objects_of_the_call(session: Session) -> None:
    """They would be freed at any moment, and the error of another call would be gone with that."""

    class Domain:
        pass

    seen: list[weakref[Domain]] = []

    def call(connect: libvirt.virConnect) -> None:
        domain = Domain()
        seen.append(weakref(domain))
        raise libvirt.libvirtError("no such thing")

    gc.disable()
    try:
        with suppress(errors.DriverError):
            session.run(call)
        wait_until(lambda: seen[0]() is None, 5, "the end of the call's objects")  # its thread may be a moment behind
    finally:
        gc.enable()


def test_a_closed_connection_is_not_alive(session: Session) -> None:
    assert not session.alive
