"""What is metered, and in which unit that is reported. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction

MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_AN_HOUR = 3_600_000_000


class Meter(StrEnum):
    """Each is measured by the hour. OFF is of a machine that is off, which its host keeps free all the same.

    What lies in the bin is metered by its disks alone, as BIN.
    """

    VCPU = "vcpu"
    VCPU_OFF = "vcpu-off"
    MEMORY = "memory"
    MEMORY_OFF = "memory-off"
    ADDRESS = "address"
    DISK = "disk"
    SNAPSHOT = "snapshot"
    BIN = "bin"
    IMAGE = "image"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class Unit:
    """`name` is what prices are for; `amounts` of them, as they are held, are one of it in an hour."""

    name: str
    amounts: int = 1


GIB_HOUR, GIB_HOUR_OF_MIB = Unit("GiB-hour"), Unit("GiB-hour", 1024)
UNITS: Mapping[str, Unit] = {
    Meter.VCPU: Unit("vCPU-hour"),
    Meter.VCPU_OFF: Unit("vCPU-hour"),
    Meter.MEMORY: GIB_HOUR_OF_MIB,
    Meter.MEMORY_OFF: GIB_HOUR_OF_MIB,
    Meter.ADDRESS: Unit("address-hour"),
    Meter.DISK: GIB_HOUR,
    Meter.SNAPSHOT: GIB_HOUR,
    Meter.BIN: GIB_HOUR,
    Meter.IMAGE: GIB_HOUR_OF_MIB,
    Meter.BACKUP: GIB_HOUR_OF_MIB,
}
WORDS: Mapping[str, str] = {
    Meter.VCPU: "vCPUs",
    Meter.VCPU_OFF: "vCPUs of stopped machines",
    Meter.MEMORY: "Memory",
    Meter.MEMORY_OFF: "Memory of stopped machines",
    Meter.ADDRESS: "Addresses",
    Meter.DISK: "Disks",
    Meter.SNAPSHOT: "Snapshots",
    Meter.BIN: "Disks in the bin",
    Meter.IMAGE: "Images",
    Meter.BACKUP: "Backups",
}


def quantity(meter: str, held: int) -> Fraction:
    """In the meter's unit, exactly; `held` is the sum of amounts times microseconds."""
    return Fraction(held, UNITS[meter].amounts * MICROSECONDS_AN_HOUR)


def microseconds(duration: timedelta) -> int:
    return duration // MICROSECOND
