"""What machines used: taken from what their hosts count, kept in bounded space."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from hosts import usage
from hosts.metering import Sample, Used
from hosts.models import Host, HostUsage
from hosts.models.usage import MINUTE
from vms.models import VM, VmUsage
from vms.promise_kept import measured

_PROMISE = ("service_class", "vcpus", "memory_mib", "cpu_floor", "cpu_ceiling", "has_huge_pages")


def take_sample(host: Host, sample: Sample) -> None:
    """A minute of all machines of a host; as many queries for one as for all."""
    rows = VM.objects.unscoped("observation").filter(host=host, pk__in=list(sample.domains)).only(*_PROMISE)
    usage.write(VmUsage, [_row(vm, sample, sample.domains[vm.pk]) for vm in rows])


def _row(vm: VM, sample: Sample, used: Used) -> VmUsage:
    found = measured(vm.promise, sample.length_ms, used.cpu_ms, used.wait_ms)
    return VmUsage(vm=vm, step=MINUTE, at=sample.at, **{**asdict(used), **asdict(found)})


def roll_up(now: datetime) -> None:
    usage.roll_up(HostUsage, now)
    usage.roll_up(VmUsage, now)
