"""How much drift is open, and how old what is known of it is."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Count
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric

from hosts.models import Host
from vms.audit.findings import Kind
from vms.models import Comparison, Drift, DriftState


def metrics() -> Iterable[Metric]:
    rows = Drift.objects.unscoped("metrics").filter(state=DriftState.OPEN).order_by()
    counts = dict(rows.values_list("kind").annotate(number=Count("pk")))
    found = GaugeMetricFamily("berth_drift_open", "Open differences between hosts and database.", labels=["kind"])
    for kind in Kind:
        found.add_metric([kind], counts.get(kind, 0))
    lag = GaugeMetricFamily(
        "berth_reconcile_lag_seconds", "Seconds since the host was last compared with the database.", labels=["host"]
    )
    now, compared = timezone.now(), dict(Comparison.objects.values_list("host_id", "at"))
    for id, name, created_at in Host.objects.values_list("pk", "name", "created_at"):
        lag.add_metric([name], (now - compared.get(id, created_at)).total_seconds())
    return found, lag
