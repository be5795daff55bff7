"""Pure rules about drift: whose a volume is, who stopped a machine, what differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from hosts.driver.types import DiskFacts, DomainFacts, PowerState, Reason
from hosts.driver.xml import outline
from portal.core.ids import uuid7
from tests.unit.xml.specs import FULL
from vms.audit import names
from vms.audit.definition import differences, evidence, is_size_only, running_differences
from vms.audit.findings import Kind
from vms.audit.rows import Machine
from vms.models import VM, Image, Layer
from vms.reconcile.inbox import _NOT_HERE
from vms.reconcile.power import OBEY_GUEST_AFTER, Ruling, rule
from vms.resolutions import Facts, Resolution, verdict
from vms.web.drift import TITLES

ID = "018f0000-0000-7000-8000-000000000001"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
REAL = DomainFacts(
    uuid=FULL.uuid,
    name=FULL.name,
    power=PowerState.RUNNING,
    owner=FULL.owner,
    vcpus=4,
    vcpus_max=4,
    memory_mib=2048,
    memory_max_mib=2048,
    disks=tuple(DiskFacts(d.target, d.pool, d.volume) for d in (*FULL.disks, *FULL.cdroms)),
    outline=outline.of_spec(FULL),
)


def test_names_that_berth_gives() -> None:
    assert names.is_ours(Layer(pk=uuid7()).file_name)
    assert names.is_ours(VM(pk=uuid7()).seed_volume)
    assert names.is_ours(Image(sha256="0af1" * 16).file_name)


@pytest.mark.parametrize(
    "name",
    ["", "backup.tar", "disk.qcow2", f"{ID}.qcow2.bak", f"x{ID}.qcow2", f"{ID}.raw", "image-1.qcow2"],
)
def test_names_that_it_does_not_give(name: str) -> None:
    assert not names.is_ours(name)


def test_no_difference() -> None:
    assert differences(REAL, FULL) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vcpus": 2}, "2 of 4 vCPUs instead of 4"),
        ({"vcpus": 8, "vcpus_max": 8}, "8 vCPUs instead of 4"),
        ({"memory_mib": 1024}, "1024 of 2048 MiB of memory instead of 2048"),
        ({"outline": REAL.outline | {"filesystem mount"}}, "filesystem mount was added"),
        ({"outline": REAL.outline - {f"name {FULL.name}"}}, f"name {FULL.name} is missing"),
    ],
)
def test_each_difference_in_words(change: dict[str, object], words: str) -> None:
    real = replace(REAL, **change)  # type: ignore[arg-type]
    assert words in differences(real, FULL)
    is_size = set(change) <= {"vcpus", "vcpus_max", "memory_mib"}
    assert is_size_only(real, FULL) == is_size
    assert (evidence(real, FULL)["size"] is not None) == is_size


@pytest.mark.parametrize(
    ("defined", "running", "words"),
    [
        (REAL.outline, None, []),
        (REAL.outline, REAL.outline, []),
        (REAL.outline, REAL.outline | {"filesystem mount"}, ["filesystem mount was added"]),
        (REAL.outline, REAL.outline - {f"name {FULL.name}"}, [f"name {FULL.name} is missing"]),
        (REAL.outline | {"filesystem mount"}, REAL.outline | {"filesystem mount"}, []),
        (REAL.outline - {f"name {FULL.name}"}, REAL.outline - {f"name {FULL.name}"}, []),
    ],
)
def test_what_the_running_guest_alone_has(
    defined: frozenset[str], running: frozenset[str] | None, words: list[str]
) -> None:
    """What the definition shows as well is told there."""
    assert running_differences(replace(REAL, outline=defined, running_outline=running), FULL) == words


OFF, ON, PAUSED = PowerState.STOPPED, PowerState.RUNNING, PowerState.PAUSED
MINUTES = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("wanted", "power", "reason", "off_for", "ruling"),
    [
        ("running", ON, Reason.NONE, None, Ruling.AS_WANTED),
        ("running", PAUSED, Reason.ASKED, None, Ruling.STOPPED_OUTSIDE),
        ("running", PAUSED, Reason.IO_ERROR, None, Ruling.STOPPED_OUTSIDE),
        ("running", OFF, Reason.GUEST, None, Ruling.AS_WANTED),
        ("running", OFF, Reason.GUEST, OBEY_GUEST_AFTER, Ruling.AS_WANTED),
        ("running", OFF, Reason.GUEST, MINUTES, Ruling.OBEY_GUEST),
        ("running", OFF, Reason.UNKNOWN, MINUTES, Ruling.BRING_BACK),
        ("running", OFF, Reason.DESTROYED, MINUTES, Ruling.STOPPED_OUTSIDE),
        ("running", PowerState.CRASHED, Reason.CRASHED, MINUTES, Ruling.STOPPED_OUTSIDE),
        ("running", OFF, Reason.FAILED, MINUTES, Ruling.STOPPED_OUTSIDE),
        ("stopped", OFF, Reason.UNKNOWN, MINUTES, Ruling.AS_WANTED),
        ("stopped", ON, Reason.NONE, None, Ruling.STARTED_OUTSIDE),
        ("stopped", PAUSED, Reason.ASKED, None, Ruling.STARTED_OUTSIDE),
        ("paused", PAUSED, Reason.ASKED, None, Ruling.AS_WANTED),
        ("paused", ON, Reason.NONE, None, Ruling.STARTED_OUTSIDE),
        ("paused", OFF, Reason.UNKNOWN, MINUTES, Ruling.BRING_BACK),
    ],
)
def test_who_stopped_it(
    wanted: str, power: PowerState, reason: Reason, off_for: timedelta | None, ruling: Ruling
) -> None:
    machine = Machine(
        id=FULL.uuid,
        name="web",
        tenant_id=uuid4(),
        host_id=uuid4(),
        lifecycle="ready",
        is_settled=True,
        is_binned=False,
        wanted_power=wanted,
        off_since=None if off_for is None else NOW - off_for,
        spec=FULL,
        seed_token="",
        was_loaded=False,
    )
    assert rule(machine, replace(REAL, power=power, reason=reason), NOW) is ruling


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_has_an_answer_for_each_button(kind: Kind) -> None:
    for resolution in Resolution:
        found = verdict(resolution, Facts(kind))
        assert found.allowed != bool(found.reason)


@pytest.mark.parametrize(
    "kind",
    [
        Kind.DISK_MISSING,
        Kind.DISK_CHANGED,
        Kind.RUNNING_CHANGED,
        Kind.UNDEFINED_OUTSIDE,
        Kind.FOREIGN_DOMAIN,
        Kind.DUPLICATE_DOMAIN,
    ],
)
def test_what_is_a_tenants_or_a_strangers_is_never_cleaned_up(kind: Kind) -> None:
    assert not verdict(Resolution.CLEAN_UP, Facts(kind, evidence={"is_ours": True, "size": {}})).allowed


def test_every_card_has_a_title() -> None:
    assert set(TITLES) == set(Kind) - _NOT_HERE
