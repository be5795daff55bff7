"""The sizes a machine may change to, each with the reason where it may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.core.units import THIN_SPACE, mib
from portal.quotas.selectors import Usage
from portal.web.presenters.meter import shortfall
from vms.models import VM, Flavor
from vms.web.presenters import size_words


@dataclass(frozen=True)
class SizeCard:
    id: str
    name: str
    words: str
    reason: str
    is_current: bool


def cards(vm: VM, flavors: Sequence[Flavor], usage: Usage) -> list[SizeCard]:
    return [
        SizeCard(
            id=str(flavor.pk),
            name=flavor.name,
            words=size_words(flavor.vcpus, flavor.memory_mib, flavor.disk_gib),
            reason=_reason(vm, flavor, usage),
            is_current=flavor.pk == vm.flavor_id,
        )
        for flavor in flavors
    ]


def _reason(vm: VM, flavor: Flavor, usage: Usage) -> str:
    if flavor.pk == vm.flavor_id:
        return "This is its size now."
    if flavor.disk_gib < vm.disk_gib:
        return f"A disk cannot shrink; it has {vm.disk_gib}{THIN_SPACE}GiB."
    if flavor.memory_mib < vm.image.min_memory_mib:
        return f"{vm.image.name} needs {mib(vm.image.min_memory_mib)}."
    return shortfall(usage, {name: max(getattr(flavor, name) - has, 0) for name, has in vm.wanted.items()})
