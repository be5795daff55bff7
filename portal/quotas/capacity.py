"""What the provider has to give, by resource. Who owns hosts registers how to find that out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# Each gives what may be claimed of all that is there, by policy: {"vcpus": 512, ...}.
sources: list[Callable[[], Mapping[str, int]]] = []


def sellable() -> dict[str, int]:
    total: dict[str, int] = {}
    for source in sources:
        for resource, amount in source().items():
            total[resource] = total.get(resource, 0) + amount
    return total
