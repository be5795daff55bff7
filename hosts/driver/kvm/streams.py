"""Display and serial port as plain sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID
from weakref import WeakMethod

import libvirt

from hosts.driver import errors
from hosts.driver.kvm import tunnel
from hosts.driver.kvm.connection import Calls, Session
from hosts.driver.kvm.domains import lookup
from hosts.driver.xml import parse

CHUNK_BYTES = 1 << 16
BUFFER_BYTES = 1 << 18  # a side that does not read makes the other one wait when this much is on the way
_READABLE = libvirt.VIR_EVENT_HANDLE_READABLE
_WRITABLE = libvirt.VIR_EVENT_HANDLE_WRITABLE
_ENDED = libvirt.VIR_EVENT_HANDLE_ERROR | libvirt.VIR_EVENT_HANDLE_HANGUP


class StreamCalls(Calls):
    def open_display(self, uuid: UUID) -> socket.socket:
        """By libvirt itself on this machine, through ssh on others; Unsupported for hosts reached in another way, for
        libvirt carries no displays."""
        if _is_local(self.uri):
            first, flags = 0, 0
            number = self._connection.call(lambda connect: lookup(connect, uuid).openGraphicsFD(first, flags))
            return socket.socket(fileno=number)
        if not tunnel.reaches(self.uri):
            raise errors.Unsupported("displays come from hosts on this machine, or reached by ssh")
        xml = self._connection.call(lambda connect: lookup(connect, uuid).XMLDesc())
        if not (path := parse.display_socket(xml)):
            raise errors.InvalidState("the domain has no display, or does not run")
        return tunnel.connect(self.uri, path)

    def open_serial(self, uuid: UUID) -> socket.socket:
        session = self._connection.session()
        try:
            pump = session.run(lambda connect: _SerialPump(session, connect, uuid))
        except errors.DriverError:
            session.drop()
            raise
        return pump.theirs


class _SerialPump:
    """Carries bytes between a libvirt stream and one end of a socket pair, in libvirt's event loop and so in no thread.

    It ends, and its connection with it, when either side does.
    """

    def __init__(self, session: Session, connect: libvirt.virConnect, uuid: UUID) -> None:
        self._session = session
        self._lock = threading.RLock()  # the loop may call back while this is still being set up
        self._closed = False
        self._to_guest, self._to_caller = bytearray(), bytearray()
        self._stream = connect.newStream(libvirt.VIR_STREAM_NONBLOCK)
        lookup(connect, uuid).openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        with self._lock:
            self._stream.eventAddCallback(_READABLE, _weakly(self._on_stream), None)
            self._handle = libvirt.virEventAddHandle(self._ours.fileno(), _READABLE, self._on_socket, None)
            connect.registerCloseCallback(self._on_lost, None)
        session.before_close(libvirt.virConnect.unregisterCloseCallback)
        session.before_close(self._release)

    def _on_stream(self, _stream: libvirt.virStream, events: int, _opaque: None) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                if events & _READABLE:
                    self._from_guest()
                if events & _WRITABLE and self._to_guest:
                    del self._to_guest[: max(self._stream.send(bytes(self._to_guest[:CHUNK_BYTES])), 0)]
                if events & _ENDED:
                    self._close()
            except libvirt.libvirtError:
                self._close()
            self._rearm()

    def _on_socket(self, _handle: int, _number: int, events: int, _opaque: None) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                if events & _READABLE:
                    self._from_caller()
                if events & _WRITABLE:
                    del self._to_caller[: self._ours.send(self._to_caller)]
                if events & _ENDED and not events & _READABLE:
                    self._close()
            except BlockingIOError:
                pass
            except OSError:
                self._close()
            self._rearm()

    def _on_lost(self, _connect: libvirt.virConnect, _reason: int, _opaque: None) -> None:
        with self._lock:
            self._close()

    def _release(self, connect: libvirt.virConnect) -> None:
        """The stream counts as a user of the connection. Waits for the host, and so is for the closing thread."""
        self._on_lost(connect, 0, None)
        with suppress(libvirt.libvirtError):
            self._stream.abort()
        self._stream.__del__()  # now: libvirt (seen in 9.0) keeps what was given to eventAddCallback, and so the stream

    def _from_guest(self) -> None:
        data = self._stream.recv(CHUNK_BYTES)
        if isinstance(data, bytes):  # or -2: nothing there yet
            self._to_caller += data
            if not data:
                self._close()

    def _from_caller(self) -> None:
        data = self._ours.recv(CHUNK_BYTES)
        self._to_guest += data
        if not data:
            self._close()

    def _rearm(self) -> None:
        """Ask for what can be done next: a full buffer is not read into, an empty one not written from."""
        if self._closed:
            return
        self._stream.eventUpdateCallback(_wanted(read_into=self._to_caller, written_from=self._to_guest))
        libvirt.virEventUpdateHandle(self._handle, _wanted(read_into=self._to_guest, written_from=self._to_caller))

    def _close(self) -> None:
        """Waits for nothing; another thread ends the stream and the connection at the host."""
        if self._closed:
            return
        self._closed = True
        libvirt.virEventRemoveHandle(self._handle)
        self._stream.eventRemoveCallback()
        self._ours.close()
        self._session.drop()


def _weakly(method: Callable[[libvirt.virStream, int, None], None]) -> Callable[[libvirt.virStream, int, None], None]:
    """The method without a hold on its object."""
    reference = WeakMethod(method)

    def call(stream: libvirt.virStream, events: int, opaque: None) -> None:
        if (there := reference()) is not None:
            there(stream, events, opaque)

    return call


def _wanted(*, read_into: bytearray, written_from: bytearray) -> int:
    return (_READABLE if len(read_into) < BUFFER_BYTES else 0) | (_WRITABLE if written_from else 0)


def _is_local(uri: str) -> bool:
    """Whether the URI means a unix socket of this machine: qemu:///system or qemu+unix://..."""
    scheme, _, rest = uri.partition("://")
    return scheme.endswith("+unix") or ("+" not in scheme and rest.startswith("/"))
