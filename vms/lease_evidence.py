"""Whether a machine is of use to anybody, as far as its figures say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Sum

from hosts.models.usage import QUARTER
from portal.core.units import size
from portal.events.models import Event
from vms.models import VM, VmUsage

LOOKED_AT = timedelta(days=7)
# Below both, and without anybody at its console, it is called idle.
IDLE_CPU_PERCENT, IDLE_BYTES_A_DAY = 2.0, 10 * 1024**2


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of the last `LOOKED_AT`: the mean of its vCPUs while it ran (None: not seen running), bytes, and its console."""

    cpu_percent: float | None
    received_bytes: int
    sent_bytes: int
    console_at: datetime | None

    @property
    def is_idle(self) -> bool:
        is_quiet = self.received_bytes + self.sent_bytes < IDLE_BYTES_A_DAY * LOOKED_AT.days
        return (self.cpu_percent or 0) < IDLE_CPU_PERCENT and is_quiet and self.console_at is None

    @property
    def words(self) -> str:
        """For people, in one line."""
        days = f"In the last {LOOKED_AT.days} days"
        if self.cpu_percent is None:
            return f"{days} it was not seen running; {self._console}."
        cpu = f"{self.cpu_percent:.1f} % of its CPUs were used on average"
        network = f"{size(self.received_bytes)} came in and {size(self.sent_bytes)} went out"
        verdict = " It looks idle." if self.is_idle else ""
        return f"{days} {cpu}, {network}; {self._console}.{verdict}"

    @property
    def _console(self) -> str:
        if self.console_at is None:
            return "nobody opened its console"
        return f"its console was last opened on {self.console_at:%Y-%m-%d %H:%M} UTC"


def of_vm(vm: VM, now: datetime) -> Evidence:
    """Two queries."""
    since = now - LOOKED_AT
    used = VmUsage.objects.filter(vm=vm, step=QUARTER, at__gte=since, at__lte=now).aggregate(
        **{name: Sum(name) for name in ("cpu_ms", "length_ms", "received_bytes", "sent_bytes")}
    )
    events = Event.objects.unscoped("of a machine in hand").filter(target_id=vm.pk, kind="vm.console-opened")
    latest = events.filter(at__gte=since).first()
    measured_ms = (used["length_ms"] or 0) * vm.vcpus
    return Evidence(
        cpu_percent=100 * used["cpu_ms"] / measured_ms if measured_ms else None,
        received_bytes=used["received_bytes"] or 0,
        sent_bytes=used["sent_bytes"] or 0,
        console_at=latest.at if latest else None,
    )
