"""Whether hosts answer."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric

from hosts.models import Host
from portal.core.health import Finding


def hosts() -> Finding:
    """Not ready only before the very first preflight: a host that is added or lost later harms no other."""
    rows = [host for host in Host.objects.all() if not host.is_off_on_purpose]
    facts = {"hosts": [{"name": host.name, "health": host.health} for host in rows]}
    nothing_known = all(host.checked_at is None for host in rows)
    if nothing_known and any(host.health == "pending" and not host.last_error for host in rows):
        return Finding(False, "The first host is being checked.", facts)
    reachable = sum(host.is_reachable for host in rows)
    return Finding(True, f"{reachable} of {len(rows)} reachable", facts)


def metrics() -> Iterable[Metric]:
    up = GaugeMetricFamily("berth_host_up", "Whether the host answered lately.", labels=["host"])
    age = GaugeMetricFamily("berth_host_seen_seconds", "Seconds since the host last answered.", labels=["host"])
    now = timezone.now()
    for host in Host.objects.all():
        if host.is_off_on_purpose:
            continue
        up.add_metric([host.name], int(host.is_reachable))
        if host.seen_at is not None:
            age.add_metric([host.name], (now - host.seen_at).total_seconds())
    return up, age
