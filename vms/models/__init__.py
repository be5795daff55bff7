from vms.models.catalogue import Flavor, Image
from vms.models.console import ConsoleTicket
from vms.models.vm import VM, Disk, Lifecycle, Nic, Power

__all__ = ["VM", "ConsoleTicket", "Disk", "Flavor", "Image", "Lifecycle", "Nic", "Power"]
