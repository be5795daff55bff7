"""A definition in a few words, a line for all that touches isolation, data or identity.

Ours and the host's are made into the same words, so that whatever was changed by hand shows as words that differ. Left
out is what libvirt fills in by itself (addresses, controllers, the exact type of the machine).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from xml.etree.ElementTree import Element, fromstring

from hosts.driver.types import DomainSpec
from hosts.driver.xml.domain import NAMESPACE, UEFI, domain_xml

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
FIRMWARE_CHOSEN = "firmware UEFI"
_HARMLESS = frozenset({"emulator", "controller", "video", "input", "memballoon", "rng", "audio", "watchdog"})
_SOURCES = ("volume", "file", "dev", "name", "dir")


@lru_cache(maxsize=20_000)  # each is asked for at each turn of the reconciler
def of_spec(spec: DomainSpec) -> frozenset[str]:
    """What the definition of `spec` comes to."""
    return of_domain(fromstring(domain_xml(spec)))  # noqa: S314  our own


def of_domain(root: Element) -> frozenset[str]:
    """What an inactive definition comes to."""
    return frozenset([*_identity(root), *_boot(root), *_tuning(root), *(_device(each) for each in _devices(root))])


def of_running(root: Element, definition: frozenset[str]) -> frozenset[str]:
    """What runs comes to. libvirt writes there the loader that it has found, instead of what it was to choose."""
    there = of_domain(root)
    loaders = {line for line in there if line.startswith("loader ")}
    return (there - loaders) | {FIRMWARE_CHOSEN} if loaders and FIRMWARE_CHOSEN in definition else there


def _identity(root: Element) -> Iterator[str]:
    yield f"name {root.findtext('name', '')}"
    if owner := root.findtext(f"metadata/{{{NAMESPACE}}}vm/{{{NAMESPACE}}}owner"):
        yield f"Berth's mark of {owner}"


def _boot(root: Element) -> Iterator[str]:
    is_chosen = _attribute(root.find("os"), "firmware") == UEFI  # libvirt fills in the loader by itself
    if is_chosen:
        yield FIRMWARE_CHOSEN
    for tag in ("kernel", "initrd", "cmdline", *(() if is_chosen else ("loader",))):
        if words := root.findtext(f"os/{tag}"):
            yield f"{tag} {words}"
    for device in root.iterfind("devices/disk[boot]"):
        order = _attribute(device.find("boot"), "order")
        yield f"boot {order} from {_attribute(device.find('target'), 'dev')}"
    if root.find(f"{{{QEMU_NAMESPACE}}}commandline") is not None:
        yield "arguments to QEMU by hand"


def _tuning(root: Element) -> Iterator[str]:
    """What it gets of its host beside others."""
    if cpus := _attribute(root.find("vcpu"), "cpuset"):
        yield f"on the host's CPUs {cpus}"
    for tag in ("cputune", "blkiotune"):
        for each in root.iterfind(f"{tag}/*"):
            facts = [f"{name} {value}" for name, value in sorted(each.attrib.items())]
            yield " ".join([tag, each.tag, *facts, *([each.text.strip()] if each.text and each.text.strip() else [])])
    for limit in root.iterfind("memtune/*"):
        yield f"memtune {limit.tag} {_kib(limit)} KiB"
    for each in root.iterfind("memoryBacking/*"):
        yield f"memory {each.tag}"


def _kib(amount: Element) -> int:
    """libvirt gives KiB back, whatever unit was sent."""
    return int(amount.text or "0") * {"MiB": 1024}.get(amount.get("unit", ""), 1)


def _devices(root: Element) -> Iterator[Element]:
    for device in root.iterfind("devices/*"):
        if device.tag not in _HARMLESS:
            yield device


def _device(device: Element) -> str:
    describe = {"disk": _disk, "interface": _interface, "graphics": _display, "channel": _channel}
    return describe.get(device.tag, _other)(device)


def _disk(disk: Element) -> str:
    source = disk.find("source")
    names = [_attribute(source, name) for name in _SOURCES]
    volume = next((name for name in names if name), "nothing")
    pool = f" of {_attribute(source, 'pool')}" if _attribute(source, "pool") else ""
    reading = ", read-only" if disk.find("readonly") is not None else ""
    target, fmt = _attribute(disk.find("target"), "dev"), _attribute(disk.find("driver"), "type") or "raw"
    return f"disk {target} {volume}{pool} as {fmt}{reading}{_limits(disk)}"


def _limits(disk: Element) -> str:
    limits = sorted(f"{limit.tag} {limit.text}" for limit in disk.iterfind("iotune/*") if limit.text not in ("0", None))
    return f", limited to {', '.join(limits)}" if limits else ""


def _interface(interface: Element) -> str:
    source, rules = interface.find("source"), interface.find("filterref")
    place = next((_attribute(source, name) for name in ("network", "bridge", "dev") if _attribute(source, name)), "")
    address = next((rule.get("value", "") for rule in interface.iterfind("filterref/parameter[@name='IP']")), "")
    held = f"held to {address} by {_attribute(rules, 'filter')}" if rules is not None else "not held to an address"
    return f"network interface {_attribute(interface.find('mac'), 'address').lower()} on {place}, {held}"


def _display(graphics: Element) -> str:
    listen = graphics.find("listen")
    place = _attribute(listen, "address") or _attribute(listen, "type") or graphics.get("listen", "")
    return f"display {graphics.get('type')} on {place}"


def _channel(channel: Element) -> str:
    return f"channel {channel.get('type')} {_attribute(channel.find('target'), 'name')}"


def _other(device: Element) -> str:
    return f"{device.tag} {device.get('type', '')}".strip()


def _attribute(element: Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")
