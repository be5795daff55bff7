from vms.models.backup import Backup, BackupDisk, BackupKind, BackupState
from vms.models.catalogue import (
    Flavor,
    Image,
    ImageCopy,
    ImageFirmware,
    ImageFormat,
    ImageShare,
    ImageState,
    Visibility,
)
from vms.models.console import ConsoleTicket
from vms.models.drift import Comparison, Drift, DriftState
from vms.models.group import AffinityGroup, GroupPolicy
from vms.models.lease import LeaseNotice, LeasePolicy
from vms.models.plan import Plan
from vms.models.schedule import Outcome, Schedule, ScheduleKind, ScheduleRun
from vms.models.snapshot import Consistency, Snapshot, SnapshotDisk, SnapshotState
from vms.models.upload import ImageUpload
from vms.models.usage import VmUsage
from vms.models.vm import VM, Lifecycle, Nic, Power, UnknownNic
from vms.models.volume import Layer, Volume

__all__ = [
    "VM",
    "AffinityGroup",
    "Backup",
    "BackupDisk",
    "BackupKind",
    "BackupState",
    "Comparison",
    "Consistency",
    "ConsoleTicket",
    "Drift",
    "DriftState",
    "Flavor",
    "GroupPolicy",
    "Image",
    "ImageCopy",
    "ImageFirmware",
    "ImageFormat",
    "ImageShare",
    "ImageState",
    "ImageUpload",
    "Layer",
    "LeaseNotice",
    "LeasePolicy",
    "Lifecycle",
    "Nic",
    "Outcome",
    "Plan",
    "Power",
    "Schedule",
    "ScheduleKind",
    "ScheduleRun",
    "Snapshot",
    "SnapshotDisk",
    "SnapshotState",
    "UnknownNic",
    "Visibility",
    "VmUsage",
    "Volume",
]
