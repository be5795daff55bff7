"""How many machines there are, how many consoles are open, and who is still to be told of leases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily, Metric

from vms.console.bridge import open_consoles
from vms.models import VM, LeaseNotice
from vms.selectors import STATUSES


def metrics() -> Iterable[Metric]:
    states = VM.objects.unscoped("metrics").order_by().values_list("lifecycle", "observed_power", "is_missing")
    counts: Counter[str] = Counter()
    for lifecycle, power, is_missing, number in states.annotate(number=Count("pk")):
        counts[VM(lifecycle=lifecycle, observed_power=power, is_missing=is_missing).status] += number
    machines = GaugeMetricFamily("berth_vms", "Virtual machines by status.", labels=["status"])
    for status in STATUSES:
        machines.add_metric([status], counts[status])
    consoles = GaugeMetricFamily("berth_console_sessions", "Consoles open in this process.", value=open_consoles())
    untold = LeaseNotice.objects.filter(told_at=None, refusal="").count()
    notices = GaugeMetricFamily("berth_lease_mails_waiting", "Mails on leases that no server took yet.", value=untold)
    return machines, consoles, notices
