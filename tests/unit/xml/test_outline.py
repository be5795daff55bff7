"""What counts as a change of a definition: all that touches isolation, data or identity."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement, fromstring

import pytest

from hosts.driver.xml import outline
from hosts.driver.xml.domain import domain_xml
from tests.unit.xml.specs import FULL


def changed(change: Callable[[Element], object]) -> set[str]:
    """The words that are there instead of ours."""
    root = fromstring(domain_xml(FULL))
    change(root)
    return set(outline.of_domain(root) - outline.of_spec(FULL))


def at(root: Element, path: str) -> Element:
    found = root.find(path)
    assert found is not None
    return found


def unfilter(root: Element) -> None:
    interface = at(root, "devices/interface")
    interface.remove(at(interface, "filterref"))


def share_a_folder(root: Element) -> None:
    SubElement(at(root, "devices"), "filesystem", {"type": "mount"})


def add_arguments(root: Element) -> None:
    SubElement(root, "{http://libvirt.org/schemas/domain/qemu/1.0}commandline")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: setattr(at(root, "name"), "text", "other"), "name other"),
        (lambda root: at(root, "devices/graphics/listen").set("address", "0.0.0.0"), "display vnc on 0.0.0.0"),
        (lambda root: at(root, "devices/disk/driver").set("type", "raw"), "as raw"),
        (lambda root: at(root, "devices/disk/source").set("volume", "another"), "vda another"),
        (lambda root: at(root, "devices/disk/iotune").clear(), "root.qcow2 of berth as qcow2"),
        (lambda root: setattr(at(root, "devices/disk/iotune/read_iops_sec"), "text", "9"), "read_iops_sec 9"),
        (lambda root: at(root, "devices/interface/source").set("network", "default"), "on default"),
        (lambda root: at(root, "devices/serial").set("type", "tcp"), "serial tcp"),
        (lambda root: setattr(at(root, "cputune/shares"), "text", "9"), "cputune shares 9"),
        (lambda root: setattr(at(root, "cputune/quota"), "text", "9"), "cputune quota 9"),
        (lambda root: at(root, "cputune/vcpupin").set("cpuset", "9"), "cputune vcpupin cpuset 9 vcpu 0"),
        (lambda root: at(root, "vcpu").set("cpuset", "0-1"), "on the host's CPUs 0-1"),
        (lambda root: SubElement(at(root, "cputune"), "emulatorpin", {"cpuset": "1"}), "cputune emulatorpin cpuset 1"),
        (lambda root: setattr(at(root, "memtune/hard_limit"), "text", "9"), "memtune hard_limit 9216 KiB"),
        (lambda root: setattr(at(root, "blkiotune/weight"), "text", "9"), "blkiotune weight 9"),
        (lambda root: SubElement(at(root, "memoryBacking"), "nosharepages"), "memory nosharepages"),
        (unfilter, "not held to an address"),
        (share_a_folder, "filesystem mount"),
        (add_arguments, "arguments to QEMU"),
    ],
)
def test_it_shows(change: Callable[[Element], object], words: str) -> None:
    assert any(words in line for line in changed(change))


def test_libvirt_gives_limits_of_memory_back_in_kib() -> None:
    def in_kib(root: Element) -> None:
        limit = at(root, "memtune/hard_limit")
        limit.text, limit.attrib["unit"] = str(4096 * 1024), "KiB"

    assert changed(in_kib) == set()


def test_what_libvirt_fills_in_does_not_show() -> None:
    def fill_in(root: Element) -> None:
        at(root, "os/type").set("machine", "pc-q35-7.2")
        SubElement(at(root, "devices"), "controller", {"type": "usb", "index": "0"})
        for device in root.iterfind("devices/*"):
            SubElement(device, "address", {"type": "pci"})

    assert changed(fill_in) == set()
