"""Graphs as pages draw them (static/js/graphs.js)."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from hosts import metrics

SPANS = (("hour", "Hour"), ("day", "Day"), ("month", "Month"))


@dataclass(frozen=True)
class Graph:
    """`series` are names of hosts.metrics.SERIES, `words` theirs; both with commas between them. `note` says what was
    measured, where that is not plain."""

    id: str
    title: str
    unit: str
    series: str
    words: str
    note: str = ""


@dataclass(frozen=True)
class Graphs:
    data_url: str
    spans: tuple[tuple[str, str], ...]
    graphs: tuple[Graph, ...]


_CPU = (
    Graph("cpu", "CPU", "percent", "cpu_percent", "used"),
    Graph("waiting", "Waiting for a CPU", "percent", "wait_percent", "waited"),
)
_OF_HOST = Graph("memory", "Memory", "mib", "memory_mib", "used")
_OF_MACHINE = Graph(
    *("memory", "Memory on its host", "mib", "memory_mib", "held"),
    note="What the host holds for it: all that the guest has touched since it started, and what running it takes. So "
    "it can be more than the machine has, and does not tell what is free inside.",
)
_DEVICES = (
    Graph("disk", "Disks", "bytes", "read_bytes_s,written_bytes_s", "read,written"),
    Graph("network", "Network", "bytes", "received_bytes_s,sent_bytes_s", "received,sent"),
)


def of_host(data_url: str) -> Graphs:
    return Graphs(data_url, SPANS, (*_CPU, _OF_HOST, *_DEVICES))


def of_machine(data_url: str) -> Graphs:
    return Graphs(data_url, SPANS, (*_CPU, _OF_MACHINE, *_DEVICES))


def span_of(request: HttpRequest) -> str:
    wanted = request.GET.get("span", "")
    return wanted if wanted in metrics.SPANS else "hour"
