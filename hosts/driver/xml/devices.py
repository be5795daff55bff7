"""Devices that every domain has, in no two ways."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from hosts.driver.types import DomainSpec
from hosts.driver.xml.element import child

SPARE_PORTS = 8
OTHER_PORTS = 4
BALLOON_PERIOD_SECONDS = 10


def hotplug_ports(spec: DomainSpec) -> list[Element]:
    """q35 can only hot-plug into ports that are there from the start, and what is fixed takes the first of them.

    Each disk and NIC needs one, and so do USB, balloon, entropy, the agent's channel and a SCSI controller.
    """
    fixed = len(spec.disks) + len(spec.nics) + bool(spec.cdroms) + OTHER_PORTS
    root = Element("controller", {"type": "pci", "index": "0", "model": "pcie-root"})
    port = {"type": "pci", "model": "pcie-root-port"}
    return [root, *(Element("controller", port) for _ in range(fixed + SPARE_PORTS))]


def serial_console() -> list[Element]:
    """One serial port on a pseudo-terminal, which is the text console too."""
    serial = Element("serial", {"type": "pty"})
    child(serial, "target", port="0")
    console = Element("console", {"type": "pty"})
    child(console, "target", type="serial", port="0")
    return [serial, console]


def display() -> list[Element]:
    """VNC on a unix socket that libvirt names: never on the network. VGA shows text from the firmware on."""
    graphics = Element("graphics", {"type": "vnc"})
    child(graphics, "listen", type="socket")
    tablet = Element("input", {"type": "tablet", "bus": "usb"})
    video = Element("video")
    child(video, "model", type="vga", vram="16384", heads="1", primary="yes")
    return [tablet, graphics, video]


def guest_agent() -> Element:
    channel = Element("channel", {"type": "unix"})
    child(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    return channel


def balloon() -> Element:
    """Reports the guest's own view of its memory once per period."""
    element = Element("memballoon", {"model": "virtio"})
    child(element, "stats", period=str(BALLOON_PERIOD_SECONDS))
    return element


def entropy() -> Element:
    element = Element("rng", {"model": "virtio"})
    child(element, "backend", "/dev/urandom", model="random")
    return element
