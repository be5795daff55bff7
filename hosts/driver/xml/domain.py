"""A whole domain: https://libvirt.org/formatdomain.html. The devices have a file each."""

from __future__ import annotations

from xml.etree.ElementTree import Element, register_namespace

from hosts.driver.types import DomainSpec, Firmware
from hosts.driver.xml import devices, tuning
from hosts.driver.xml.disk import cdrom_element, disk_element
from hosts.driver.xml.element import child, render
from hosts.driver.xml.interface import interface_element

NAMESPACE = "urn:berth:domain:1"
EMULATOR_ARCHITECTURE = "x86_64"
UEFI = "efi"  # libvirt's word
register_namespace("berth", NAMESPACE)


def domain_xml(spec: DomainSpec) -> str:
    """The definition of `spec`."""
    root = Element("domain", {"type": spec.accelerator.value})
    child(root, "name", spec.name)
    child(root, "uuid", str(spec.uuid))
    if title := one_line(spec.title):
        child(root, "title", title)
    _metadata(root, spec)
    child(root, "memory", str(spec.memory_mib), unit="MiB")
    root.extend(tuning.memory_elements(spec.tuning))
    root.append(tuning.vcpu_element(spec.vcpus, spec.tuning))
    root.extend(tuning.share_elements(spec.tuning))
    _boot(root, spec)
    features = child(root, "features")
    child(features, "acpi")
    child(features, "apic")
    _cpu(root, spec)
    child(root, "clock", offset="utc")
    child(root, "on_poweroff", "destroy")
    child(root, "on_reboot", "restart")
    child(root, "on_crash", "destroy")
    _devices(root, spec)
    return render(root)


def one_line(title: str) -> str:
    """libvirt refuses titles of several lines, and XML 1.0 has no place for control characters."""
    return "".join(character for character in title if character.isprintable())


def _metadata(root: Element, spec: DomainSpec) -> None:
    """Whose it is and which attempt made it, for whoever finds it on the host."""
    mark = child(child(root, "metadata"), f"{{{NAMESPACE}}}vm")
    child(mark, f"{{{NAMESPACE}}}owner", spec.owner)
    child(mark, f"{{{NAMESPACE}}}attempt", str(spec.attempt))


def _boot(root: Element, spec: DomainSpec) -> None:
    """libvirt finds the files of the firmware, and gives a UEFI guest variables of its own beside the definition."""
    system = child(root, "os")
    child(system, "type", "hvm", arch=EMULATOR_ARCHITECTURE, machine=spec.machine)
    if spec.firmware is Firmware.UEFI:
        system.set("firmware", UEFI)
        features = child(system, "firmware")
        for feature in ("enrolled-keys", "secure-boot"):  # with Microsoft's keys only what they signed would boot
            child(features, "feature", enabled="no", name=feature)
    if not _boots_from_cdrom(spec):
        child(system, "boot", dev="hd")


def _boots_from_cdrom(spec: DomainSpec) -> bool:
    return any(cdrom.boots for cdrom in spec.cdroms)


def _cpu(root: Element, spec: DomainSpec) -> None:
    if spec.cpu_model.startswith("host-"):
        child(root, "cpu", mode=spec.cpu_model)
    else:
        cpu = child(root, "cpu", mode="custom", match="exact", check="none")
        child(cpu, "model", spec.cpu_model, fallback="forbid")


def _devices(root: Element, spec: DomainSpec) -> None:
    parent = child(root, "devices")
    parent.extend(devices.hotplug_ports(spec))
    disks = [disk_element(disk) for disk in spec.disks]
    cdroms = [cdrom_element(cdrom) for cdrom in spec.cdroms]
    if _boots_from_cdrom(spec):
        booting = [element for element, cdrom in zip(cdroms, spec.cdroms, strict=True) if cdrom.boots]
        _order([*disks[:1], *booting])
    parent.extend(disks)
    if cdroms:
        child(parent, "controller", type="scsi", model="virtio-scsi")
    parent.extend(cdroms)
    parent.extend(interface_element(nic) for nic in spec.nics)
    parent.extend(devices.serial_console())
    parent.extend(devices.display())
    parent.append(devices.guest_agent())
    parent.append(devices.balloon())
    parent.append(devices.entropy())


def _order(booting: list[Element]) -> None:
    """One by one: libvirt takes "cdrom" for the first of several. The disk first, so that what was installed boots."""
    for position, device in enumerate(booting, 1):
        child(device, "boot", order=str(position))
