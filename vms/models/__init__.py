from vms.models.catalogue import Flavor, Image, ImageFormat, ImageState
from vms.models.console import ConsoleTicket
from vms.models.drift import Comparison, Drift, DriftState
from vms.models.upload import ImageUpload
from vms.models.vm import VM, Disk, Lifecycle, Nic, Power

__all__ = [
    "VM",
    "Comparison",
    "ConsoleTicket",
    "Disk",
    "Drift",
    "DriftState",
    "Flavor",
    "Image",
    "ImageFormat",
    "ImageState",
    "ImageUpload",
    "Lifecycle",
    "Nic",
    "Power",
]
