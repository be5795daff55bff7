"""One connection to a host's daemon, and calls on it that return in time whatever the daemon does.

libvirt has no deadlines. So each call runs in a thread of its own, and a caller whose time is up leaves that thread to
itself: the connection is dropped, the keepalive (or the daemon, when it moves again) ends the call some time later, and
the last thread to leave a dropped connection closes it. libvirt-python lets other threads run during a call.

Calls on one connection go one after the other: libvirt before 9.9 keeps a pointer to the stack of a call that another
thread's call has woken up, and follows it when a daemon that hung goes on (its commit "rpc: ensure temporary GSource is
removed from client event loop"). Whatever takes long has a connection of its own.

An error keeps the frames it came through, with libvirt's objects in them. It must be in no cycle of references: those
are collected at any moment, also between a call that fails and the look at its error, which freeing an object clears.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from contextlib import suppress
from contextvars import copy_context
from typing import TypeVar
from weakref import WeakSet

import libvirt

from hosts.driver import errors
from hosts.driver.kvm import loop
from hosts.driver.kvm.errors import translate, unopened

T = TypeVar("T")

DEFAULT_SECONDS = 10.0
# While an open hangs, later callers wait for that one instead of hanging more threads on the same daemon; after this
# long another is tried beside it, for a machine that lost power never ends an open.
OPEN_PATIENCE_SECONDS = 60.0


def in_thread(work: Callable[[], T], name: str) -> Future[T]:
    """Start `work` in a daemon thread. Not a pool: a thread that hangs must not keep others waiting.

    The caller's context goes with it, so that what it logs belongs to the caller's request.
    """
    future: Future[T] = Future()
    threading.Thread(target=copy_context().run, args=(_run, [future], work), name=name, daemon=True).start()
    return future


def _run(futures: list[Future[T]], work: Callable[[], T]) -> None:
    """Of one future, which goes on to nobody: an error that holds this frame must not be held by what it holds."""
    try:
        result = work()
    except BaseException as error:
        futures.pop().set_exception(error)
    else:
        futures.pop().set_result(result)


class Session:
    """An open connection, shared by those who use it at the moment."""

    def __init__(self, uri: str) -> None:
        """Connect; notices within 15 s when the host is gone. Blocks, and raises libvirtError."""
        loop.ensure_running()
        self._connect = libvirt.open(uri)
        self._connect.setKeepAlive(loop.KEEPALIVE_SECONDS, loop.KEEPALIVE_COUNT)
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._users = 0
        self._dropped = False
        self._farewells: list[Callable[[libvirt.virConnect], object]] = []

    @property
    def alive(self) -> bool:
        """As far as this end knows; asks nobody."""
        try:
            return not self._dropped and bool(self._connect.isAlive())
        except libvirt.libvirtError:  # it was closed in between
            return False

    def run(self, work: Callable[[libvirt.virConnect], T], seconds: float = DEFAULT_SECONDS) -> T:
        """Call `work` with the connection; Timeout drops the session for everybody."""
        with self._lock:
            if self._dropped:
                raise errors.Unreachable("the connection was dropped")
            self._users += 1
        future = in_thread(lambda: self._work(work), "libvirt-call")
        try:
            return future.result(max(seconds, 0))
        except OutOfTime:
            self.drop()
            raise errors.Timeout(f"no answer from the host within {seconds:.1f} s") from None
        except libvirt.libvirtError as error:
            raise self._in_our_words(error) from error
        finally:
            del future  # see the top

    def _in_our_words(self, error: libvirt.libvirtError) -> errors.DriverError:
        ours = translate(error) if self.alive else errors.Unreachable(str(error))
        if isinstance(ours, errors.Unreachable):
            self.drop()
        return ours

    def drop(self) -> None:
        """Close the connection when nobody is inside a call on it any more. Never waits."""
        with self._lock:
            first, self._dropped = not self._dropped, True
            idle = self._users == 0
        if first and idle:
            in_thread(self._close, "libvirt-close")

    def before_close(self, farewell: Callable[[libvirt.virConnect], object]) -> None:
        """For what would keep the connection open: libvirt counts a registered callback as a user."""
        self._farewells.append(farewell)

    def disown(self) -> None:
        """For a child process: closing the connection here, even by forgetting it, would close it for the parent."""
        self._connect._o = None

    def _work(self, work: Callable[[libvirt.virConnect], T]) -> T:
        try:
            with self._turn:
                if self._dropped:  # while this one waited for its turn
                    raise errors.Unreachable("the connection was dropped")
                return work(self._connect)
        finally:
            with self._lock:
                self._users -= 1
                last = self._dropped and self._users == 0
            if last:
                self._close()

    def _close(self) -> None:
        for farewell in (*self._farewells, libvirt.virConnect.close):
            with suppress(libvirt.libvirtError):  # of a connection that broke
                farewell(self._connect)


class Connection:
    """The way to one host. Opened by the first call, and again by the next one after it broke."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = threading.Lock()
        self._opening: Future[Session] | None = None
        self._opened_at = 0.0
        _connections.add(self)

    def call(self, work: Callable[[libvirt.virConnect], T], *, seconds: float = DEFAULT_SECONDS) -> T:
        """`work(connection)` within `seconds`, the time to connect included. Raises errors of hosts.driver.errors."""
        until = time.monotonic() + seconds
        return self._session(seconds).run(work, until - time.monotonic())

    def read(self, work: Callable[[libvirt.virConnect], T]) -> T:
        """As `call`, for what may be asked twice: a connection that breaks on the way is opened once more."""
        until = time.monotonic() + DEFAULT_SECONDS
        try:
            return self.call(work)
        except errors.Unreachable:
            return self.call(work, seconds=until - time.monotonic())

    def session(self) -> Session:
        """A connection of the caller's own, for streams and events: nobody else's timeout drops it."""
        self.call(lambda connect: connect.getLibVersion())  # so that a daemon that hangs costs no further thread
        return _result(in_thread(lambda: Session(self.uri), "libvirt-open"), DEFAULT_SECONDS)

    def close(self) -> None:
        with self._lock:
            opening, self._opening = self._opening, None
        if opening is not None:
            opening.add_done_callback(_drop)

    def forked(self) -> None:
        """In the child: begin anew."""
        opening, self._opening, self._lock = self._opening, None, threading.Lock()
        if opening is not None and opening.done() and opening.exception() is None:
            opening.result().disown()

    def _session(self, seconds: float) -> Session:
        with self._lock:
            if self._opening is None or not self._is_usable(self._opening):
                if self._opening is not None:
                    self._opening.add_done_callback(_drop)
                self._opening = in_thread(lambda: Session(self.uri), "libvirt-open")
                self._opened_at = time.monotonic()
            opening = self._opening
        return _result(opening, seconds)

    def _is_usable(self, opening: Future[Session]) -> bool:
        if not opening.done():
            return time.monotonic() - self._opened_at < OPEN_PATIENCE_SECONDS
        return opening.exception() is None and opening.result().alive


def _result(opening: Future[Session], seconds: float) -> Session:
    try:
        return opening.result(max(seconds, 0))
    except OutOfTime:
        raise errors.Timeout(f"the host did not let us connect within {seconds:.1f} s") from None
    except libvirt.libvirtError as error:
        raise unopened(error) from error
    finally:
        del opening


def _drop(opening: Future[Session]) -> None:
    if opening.exception() is None:
        opening.result().drop()


_connections: WeakSet[Connection] = WeakSet()


def _forked() -> None:
    for connection in _connections:
        connection.forked()


os.register_at_fork(after_in_child=_forked)
# libvirt-python's own way of closing stumbles over an interpreter that is half gone; the system closes the socket.
atexit.register(_forked)


class Calls:
    """What the groups of calls stand on."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._connection = Connection(uri)

    def close(self) -> None:
        self._connection.close()
