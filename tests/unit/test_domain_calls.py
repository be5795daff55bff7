"""Calls on domains that no real host can be made to answer on demand."""

from __future__ import annotations

import libvirt
import pytest

from hosts.driver.kvm.domains import _destroy, stop_reason
from hosts.driver.types import Reason

REASONS = [number for name, number in vars(libvirt).items() if name.startswith("VIR_DOMAIN_SHUTOFF_")]


@pytest.mark.parametrize("reason", sorted(set(REASONS)))
def test_only_what_libvirt_does_not_know_or_its_daemon_did_counts_as_gone_with_the_host(reason: int) -> None:
    found = stop_reason(libvirt.VIR_DOMAIN_SHUTOFF, reason)
    unknown = {libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON}
    assert (found is Reason.UNKNOWN) == (reason in unknown)


class DomainBeingClearedUp:
    """As libvirt shows one whose start has just failed: active, and not to be destroyed, without a word of why."""

    def __init__(self) -> None:
        self.refusals = 2

    def destroy(self) -> None:
        if self.refusals:
            self.refusals -= 1
            libvirt.virResetLastError()  # as each call of libvirt's begins; the thread may hold one of another test's
            raise libvirt.libvirtError("virDomainDestroy() failed")

    def isActive(self) -> bool:
        return True


def test_what_libvirt_refuses_without_a_word_is_asked_again() -> None:
    domain = DomainBeingClearedUp()
    _destroy(domain)  # type: ignore[arg-type]
    assert domain.refusals == 0
