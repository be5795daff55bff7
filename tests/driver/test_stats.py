"""What guests and hosts count, and what a host can hold its guests to."""

from __future__ import annotations

import time
from pathlib import Path

from hosts.driver.types import NO_CONTROLS, Accelerator, Controls, HostStats, PowerState, Tuning
from tests.driver.guests import guest
from tests.driver.rig import POOL, Rig


def test_only_guests_that_are_on_count(rig: Rig, echo_image: Path) -> None:
    rig.driver.upload(POOL, "on", echo_image, "qcow2")
    on, off = guest("on"), guest()
    for spec in (on, off):
        rig.driver.define(spec)
    rig.driver.start(on.uuid)
    stats = rig.driver.stats()
    assert [each.uuid for each in stats.domains] == [on.uuid]
    assert stats.domains[0].vcpus == 1
    rig.driver.destroy(on.uuid)
    assert rig.driver.stats().domains == ()


def test_the_probe_tells_what_guests_can_be_held_to(rig: Rig) -> None:
    verdict = rig.driver.probe_accelerator(Accelerator.TCG, POOL, 30)
    assert verdict.usable, verdict.detail
    assert verdict.controls.cpu_weight in (100, 1024)  # of the second and the first version of control groups
    assert verdict.controls.has_cpu_quota


def test_no_controls_by_themselves() -> None:
    assert Controls() == NO_CONTROLS


def test_a_tuned_guest_starts_and_is_what_was_asked_for(rig: Rig, echo_image: Path) -> None:
    """But for what not every host can: huge pages, locked memory, weights of disks."""
    rig.driver.upload(POOL, "on", echo_image, "qcow2")
    tuning = Tuning(shares=512, period=100_000, quota=50_000, pins=(1,), cpus=(0,))
    spec = guest("on", tuning=tuning)
    rig.driver.define(spec)
    rig.driver.start(spec.uuid)
    (facts,) = rig.driver.inventory([], "none").domains
    lines = {"cputune shares 512", "cputune quota 50000", "cputune vcpupin cpuset 1 vcpu 0", "on the host's CPUs 0"}
    assert lines <= facts.outline
    assert facts.running_outline is not None
    assert facts.outline <= facts.running_outline | {"cputune period 100000"}
    assert facts.power is PowerState.RUNNING


def test_real_counters_rise(kvm_rig: Rig, echo_image: Path) -> None:
    kvm_rig.driver.upload(POOL, "on", echo_image, "qcow2")
    spec = guest("on")
    kvm_rig.driver.define(spec)
    kvm_rig.driver.start(spec.uuid)
    before = kvm_rig.driver.stats()
    until = time.monotonic() + 60
    while time.monotonic() < until and not _has_risen(before, kvm_rig.driver.stats()):
        time.sleep(0.2)
    after = kvm_rig.driver.stats()
    assert _has_risen(before, after)
    assert after.domains[0].read_bytes > 0  # the firmware has read its sector
    assert after.domains[0].memory_mib > 0
    assert after.memory_mib > 0


def _has_risen(before: HostStats, after: HostStats) -> bool:
    (old,), (new,) = before.domains, after.domains
    return after.cpu_ns > before.cpu_ns and new.cpu_ns > old.cpu_ns and new.wait_ns > old.wait_ns and new.read_bytes > 0
