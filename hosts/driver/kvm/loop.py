"""libvirt's event loop: one thread per process. It answers keepalives and brings events, so nothing in it may wait."""

from __future__ import annotations

import os
import threading

import libvirt

KEEPALIVE_SECONDS = 5
KEEPALIVE_COUNT = 3


class _Loop:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = False
        self._is_inherited = False
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """The parent's thread, and whoever held the lock, are not in this process."""
        self._lock = threading.Lock()
        self._is_inherited = self._running

    def ensure_running(self) -> None:
        if self._is_inherited:
            raise RuntimeError("libvirt was in use when this process was forked, and cannot be used here: fork before")
        with self._lock:
            if self._running:
                return
            libvirt.registerErrorHandler(_ignore, None)  # libvirt would print to stderr what we raise anyway
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
            self._running = True


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _ignore(_context: object, _error: object) -> None:
    """Errors are raised where they happen."""


_loop = _Loop()


def ensure_running() -> None:
    """To be called before a connection is opened: libvirt ties each to the loop that was registered by then.

    RuntimeError in a child of a process in which it ran already: its thread is gone there, and its locks may be held.
    """
    _loop.ensure_running()
