"""A connection that several threads use at once."""

from __future__ import annotations

import threading

import libvirt
import pytest

from hosts.driver import errors
from hosts.driver.kvm.connection import Session


class Closed:
    """What libvirt makes of a connection that was closed."""

    def isAlive(self) -> int:
        raise libvirt.libvirtError("invalid connection pointer in virConnectIsAlive")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(Session, "__init__", lambda self: None)
    session = Session()  # type: ignore[call-arg]
    session._connect, session._lock, session._users = Closed(), threading.Lock(), 1  # type: ignore[assignment]
    session._dropped, session._farewells = False, []
    return session


def test_a_call_on_a_connection_that_another_thread_has_closed_is_unreachable(session: Session) -> None:
    """And no error of libvirt's own, which would end an operation as if Berth were broken."""

    def call(connect: libvirt.virConnect) -> None:
        session._dropped = True
        raise libvirt.libvirtError("Cannot recv data: Connection reset by peer")

    with pytest.raises(errors.Unreachable):
        session.run(call)


def test_a_closed_connection_is_not_alive(session: Session) -> None:
    assert not session.alive
