"""Moments of a migration that no real host can be made to show on demand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import libvirt
import pytest

from hosts.driver.kvm import migrate
from hosts.driver.kvm.domains import _state
from hosts.driver.types import Convergence, DomainSpec, Journey
from tests.driver.guests import guest

UNDER_WAY = {"operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT, "type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED}
NONE = {"type": libvirt.VIR_DOMAIN_JOB_NONE}
RUNNING = [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
PAUSED = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
LEFT_PAUSED = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION]


class Domain:
    """One whose jobs are as told, the last of them for good."""

    def __init__(self, spec: DomainSpec, *jobs: dict[str, int], state: list[int] = RUNNING, note: str = "") -> None:
        self.uuid, self.jobs, self.is_at, self.note = spec.uuid, list(jobs), state, note
        self.aborted = 0

    def isActive(self) -> bool:
        return True

    def isPersistent(self) -> bool:
        return True

    def UUID(self) -> bytes:
        return self.uuid.bytes

    def name(self) -> str:
        return "berth-one"

    def state(self) -> list[int]:
        return self.is_at

    def jobStats(self) -> dict[str, int]:
        return self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]

    def XMLDesc(self, flags: int) -> str:
        return "<domain/>"

    def abortJob(self) -> None:
        self.aborted += 1

    def metadata(self, *_: object) -> str:
        return self.note

    def lookupByUUIDString(self, uuid: str) -> Domain:
        assert UUID(uuid) == self.uuid
        return self


def end(domain: Domain) -> bool:
    found: Any = domain
    return migrate._end(found)


def look(domain: Domain, spec: DomainSpec) -> object:
    connect: Any = domain
    return migrate._look(connect, spec, Journey("qemu:///system"))


def test_it_has_ended_once_its_job_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = Domain(guest(), UNDER_WAY, UNDER_WAY, UNDER_WAY, NONE)
    assert end(domain)
    assert domain.aborted == 1


def test_an_end_that_was_accepted_is_none_while_the_job_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "END_SECONDS", 0)
    assert not end(Domain(guest(), UNDER_WAY))


@pytest.mark.parametrize(
    ("stage", "attempt", "state", "is_begun_again"),
    [
        ("migrating", 3, RUNNING, True),
        ("migrating", 3, PAUSED, True),
        ("failed", 3, RUNNING, True),
        ("migrating", 4, RUNNING, False),
        ("failed", 4, RUNNING, False),
        ("migrating", 3, LEFT_PAUSED, False),
    ],
)
def test_what_an_earlier_attempt_has_left_is_begun_again(
    stage: str, attempt: int, state: list[int], is_begun_again: bool
) -> None:
    """But not in its last moment: it may run at the other host by now."""
    spec = guest(attempt=4)
    note = f'<migration stage="{stage}" attempt="{attempt}" error=""/>'
    assert (look(Domain(spec, NONE, state=state, note=note), spec) is None) is is_begun_again


@pytest.mark.parametrize(
    ("reason", "is_whole"),
    [
        (libvirt.VIR_DOMAIN_RUNNING_BOOTED, True),
        (libvirt.VIR_DOMAIN_RUNNING_MIGRATED, True),
        (libvirt.VIR_DOMAIN_RUNNING_POSTCOPY, False),
        (libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED, False),
    ],
)
def test_a_guest_is_whole_unless_post_copy_owes_it_memory(reason: int, is_whole: bool) -> None:
    found: Any = Domain(guest(), NONE, state=[libvirt.VIR_DOMAIN_RUNNING, reason])
    assert _state(found).is_whole is is_whole


@pytest.mark.parametrize("convergence", list(Convergence))
def test_a_limit_binds_after_the_switch_to_post_copy_as_well(
    monkeypatch: pytest.MonkeyPatch, convergence: Convergence
) -> None:
    monkeypatch.setattr(migrate, "destination_xml", lambda *_: "")
    spec = guest()
    domain: Any = Domain(spec, NONE)
    found = migrate._parameters(domain, spec, Journey("", mib_per_second=7, convergence=convergence))
    assert found[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] == 7
    after = found.get(libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY)
    assert after == (7 if convergence is Convergence.POST_COPY else None)
