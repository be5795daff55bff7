"""What hosts and machines used, by intervals: each minute of a day, each quarter of an hour of a month."""

from __future__ import annotations

from django.db import models

from hosts.models.host import Host

MINUTE, QUARTER = 60, 900  # seconds


class Usage(models.Model):
    """What was used in the `length_ms` that were measured of the interval of `step` seconds from `at` on.

    All but `memory_mib`, a mean, are sums, so that longer intervals are the sums of shorter ones. `wait_ms` is the time
    that vCPUs were ready to run and did not.
    """

    step = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    length_ms = models.PositiveBigIntegerField()
    cpu_ms = models.PositiveBigIntegerField()
    wait_ms = models.PositiveBigIntegerField()
    memory_mib = models.PositiveIntegerField()
    read_bytes = models.PositiveBigIntegerField()
    written_bytes = models.PositiveBigIntegerField()
    requests = models.PositiveBigIntegerField()
    received_bytes = models.PositiveBigIntegerField()
    sent_bytes = models.PositiveBigIntegerField()

    SUMS: tuple[str, ...] = (
        *("length_ms", "cpu_ms", "wait_ms", "read_bytes", "written_bytes", "requests"),
        *("received_bytes", "sent_bytes"),
    )
    OWNER = ""

    class Meta:
        abstract = True


class HostUsage(Usage):
    """Of a host: its own CPU time and memory; what waited, and disks and network, are those of its guests."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")

    OWNER = "host"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "step", "at"], name="one_usage_per_host_and_interval")]
        indexes = [models.Index(fields=["step", "at"], name="host_usage_by_age")]
