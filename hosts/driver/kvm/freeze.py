"""Guests whose file systems are frozen for an instant, and never for longer.

The one who froze a guest may die the moment after. So a process of its own waits beside, and thaws the guest when its
creator is gone without a word, or when the time is up. It is started before the guest is frozen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select

import libvirt

from hosts.driver.xml.backup import has_agent

AGENT_SECONDS = 8  # for one answer of the guest's agent
FROZEN_SECONDS = 15.0  # after which the guard thaws it, whatever its creator does
READY_SECONDS = 10.0
THAWED, READY = "thawed\n", b"ready"
_ROOT = Path(__file__).parents[3]


@contextmanager
def frozen(uri: str, domain: libvirt.virDomain) -> Iterator[bool]:
    """Whether the guest's file systems are frozen meanwhile: not where no agent answers, nor without a guard."""
    if not domain.isActive() or not has_agent(domain.XMLDesc()):
        yield False
        return
    domain.agentSetResponseTimeout(AGENT_SECONDS)
    guard = _Guard(uri, domain.UUIDString())
    try:
        yield guard.is_ready() and _freeze(domain)
    finally:
        if thaw(domain):
            guard.dismiss()


def thaw(domain: libvirt.virDomain) -> bool:
    """Whether the guest can write, as far as anybody knows."""
    if not domain.isActive() or not has_agent(domain.XMLDesc()):
        return True
    until = time.monotonic() + AGENT_SECONDS
    while time.monotonic() < until:
        with suppress(libvirt.libvirtError):
            domain.fsThaw()
            return True
        time.sleep(0.5)
    return False


def _freeze(domain: libvirt.virDomain) -> bool:
    try:
        return bool(domain.fsFreeze())
    except libvirt.libvirtError:  # it does not answer, or may not: an agent can be told to refuse
        return False


class _Guard:
    """A session of its own: what ends its creator does not end it. The end of its input tells it that one is dead."""

    def __init__(self, uri: str, uuid: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603  arguments are ours
            [sys.executable, "-m", "hosts.driver.kvm.thaw_guard", uri, uuid, str(FROZEN_SECONDS)],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def is_ready(self) -> bool:
        """It counts its time from here."""
        output = self._process.stdout
        assert output is not None
        readable, _, _ = select([output], [], [], READY_SECONDS)
        return bool(readable) and output.readline().strip() == READY

    def dismiss(self) -> None:
        with suppress(OSError):  # it is gone
            self._process.communicate(THAWED.encode(), timeout=AGENT_SECONDS)
