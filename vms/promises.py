"""Taking what a flavor promises into a machine: claimed of the host that keeps it, and noted in the machine's row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from hosts import service_class
from hosts.driver.types import UNTUNED, Tuning
from hosts.models import Host
from hosts.reserve import reserve
from hosts.service_class import Promise
from vms.design import tuning
from vms.models import VM


def fits(vm: VM, also: Callable[[Host], object] = bool) -> Callable[[Host], object]:
    """For placement: claims what is promised to a machine that is being made, and asks what else must fit."""

    def claim(host: Host) -> object:
        keep(vm, host)
        return also(host)

    return claim


def keep(vm: VM, host: Host) -> None:
    """Claim of the host what the machine's flavor promises, and note that in the machine. Raises NoCapacity."""
    for name, value in kept_by(vm, host, vm.flavor.promise(vm.vcpus, vm.memory_mib)).items():
        setattr(vm, name, value)


def kept_by(vm: VM, host: Host, promise: Promise) -> Mapping[str, Any]:
    """The same as values of the row, for whoever writes them later. Raises NoCapacity."""
    pins = reserve(host, vm.pk, promise)
    return {
        "service_class": str(promise.service_class),
        "cpu_floor": service_class.floor_on(promise, host),
        "cpu_ceiling": promise.cpu_ceiling,
        "has_huge_pages": promise.has_huge_pages,
        "tuning": _as_json(tuning(promise, host, pins)),
    }


def _as_json(tuning: Tuning) -> dict[str, Any]:
    """As it comes back from the row, so that both can be compared."""
    said = {name: value for name, value in asdict(tuning).items() if value != getattr(UNTUNED, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
