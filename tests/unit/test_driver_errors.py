"""What libvirt only tells in words, in ours."""

from __future__ import annotations

import libvirt
import pytest

from hosts.driver import errors
from hosts.driver.kvm.errors import translate


@pytest.mark.parametrize("lock", ['"write" lock', 'shared "write" lock'])
def test_a_file_that_another_qemu_has_is_busy(lock: str) -> None:
    error = libvirt.libvirtError(f"internal error: qemu unexpectedly closed the monitor: Failed to get {lock}")
    assert type(translate(error)) is errors.Busy
