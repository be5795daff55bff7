"""How many pages listen."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from portal.events.hub import hub


def metrics() -> Iterable[Metric]:
    yield GaugeMetricFamily("berth_live_streams", "Live streams open in this process.", value=len(hub.listeners))
