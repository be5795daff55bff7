"""Why a domain is off, in our words: only one that nobody stopped may be started again by itself."""

from __future__ import annotations

import libvirt
import pytest

from hosts.driver.kvm.domains import stop_reason
from hosts.driver.types import Reason

REASONS = [number for name, number in vars(libvirt).items() if name.startswith("VIR_DOMAIN_SHUTOFF_")]


@pytest.mark.parametrize("reason", sorted(set(REASONS)))
def test_only_what_libvirt_does_not_know_or_its_daemon_did_counts_as_gone_with_the_host(reason: int) -> None:
    found = stop_reason(libvirt.VIR_DOMAIN_SHUTOFF, reason)
    unknown = {libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON}
    assert (found is Reason.UNKNOWN) == (reason in unknown)
