"""The process that thaws a guest when the one who froze it does not: `thaw_guard URI UUID SECONDS`."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from select import select

import libvirt

from hosts.driver.kvm.freeze import READY, THAWED

PATIENCE_SECONDS = 300.0  # with a daemon that is away


def main(uri: str, uuid: str, seconds: float) -> None:
    libvirt.registerErrorHandler(lambda context, error: None, None)
    domain = libvirt.open(uri).lookupByUUIDString(uuid)
    sys.stdout.buffer.write(READY + b"\n")
    sys.stdout.flush()
    readable, _, _ = select([sys.stdin], [], [], seconds)
    if readable and sys.stdin.readline() == THAWED:
        return
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and not _is_thawed(domain):
        time.sleep(1)
        with suppress(libvirt.libvirtError):  # the daemon may have started anew
            domain = libvirt.open(uri).lookupByUUIDString(uuid)


def _is_thawed(domain: libvirt.virDomain) -> bool:
    try:
        if domain.isActive():
            domain.fsThaw()
    except libvirt.libvirtError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
