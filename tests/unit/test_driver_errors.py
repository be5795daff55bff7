"""What libvirt only tells in words, in ours."""

from __future__ import annotations

import libvirt
import pytest

from hosts.driver import errors
from hosts.driver.kvm.errors import translate


@pytest.mark.parametrize(
    "words",
    [
        'qemu unexpectedly closed the monitor: Failed to get "write" lock',
        'qemu unexpectedly closed the monitor: Failed to get shared "write" lock',
        "Failed to apply firewall rules /usr/sbin/ebtables --concurrent -t nat -N P-vnet78-ipv4: "
        "ebtables: Chain already exists",
        "binding 'vnet6' already exists",
    ],
)
def test_what_passes_by_itself_is_busy(words: str) -> None:
    libvirt.virResetLastError()  # the thread may hold one of another test's, which would take its place
    error = libvirt.libvirtError(f"internal error: {words}")
    assert type(translate(error)) is errors.Busy
