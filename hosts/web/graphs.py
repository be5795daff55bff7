"""Graphs as pages draw them (static/js/graphs.js)."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from hosts import metrics

SPANS = (("hour", "Hour"), ("day", "Day"), ("month", "Month"))


@dataclass(frozen=True)
class Graph:
    """`series` are names of hosts.metrics.SERIES, `words` theirs; both with commas between them."""

    id: str
    title: str
    unit: str
    series: str
    words: str


@dataclass(frozen=True)
class Graphs:
    data_url: str
    spans: tuple[tuple[str, str], ...]
    graphs: tuple[Graph, ...]


GRAPHS = (
    Graph("cpu", "CPU", "percent", "cpu_percent", "used"),
    Graph("waiting", "Waiting for a CPU", "percent", "wait_percent", "waited"),
    Graph("memory", "Memory", "mib", "memory_mib", "used"),
    Graph("disk", "Disks", "bytes", "read_bytes_s,written_bytes_s", "read,written"),
    Graph("network", "Network", "bytes", "received_bytes_s,sent_bytes_s", "received,sent"),
)


def graphs(data_url: str) -> Graphs:
    return Graphs(data_url, SPANS, GRAPHS)


def span_of(request: HttpRequest) -> str:
    wanted = request.GET.get("span", "")
    return wanted if wanted in metrics.SPANS else "hour"
