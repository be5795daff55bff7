"""Where a guest's devices sit on its buses: https://libvirt.org/formatdomain.html#device-addresses"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring

from hosts.driver.xml.element import render

# What tells a device from others of its tag wherever it sits; others are told by their order.
_MARKS = {"disk": ("target", "dev"), "interface": ("mac", "address"), "channel": ("target", "name")}

Device = tuple[str, str]


def with_addresses_of(definition: str, saved: str) -> str:
    """The inactive `definition` with each device where it was in the guest whose memory was `saved`, on the same buses.

    A definition numbers anew whatever a running guest was given or has let go of, and memory knows one place only.
    """
    root, then = _root(definition), _root(saved)
    places = {device: element.find("address") for device, element in _devices(then)}
    for device, element in _devices(root):
        _put(element, places.get(device))
    parent = root.find("devices")
    assert parent is not None
    for controller in parent.findall("controller"):
        parent.remove(controller)
    parent.extend(then.findall("devices/controller"))
    return render(root)


def _put(element: Element, address: Element | None) -> None:
    """libvirt finds a place for what had none."""
    for old in element.findall("address"):
        element.remove(old)
    if address is not None:
        element.append(address)


def _devices(root: Element) -> Iterator[tuple[Device, Element]]:
    """All but controllers."""
    count: Counter[str] = Counter()
    for element in root.iterfind("devices/*"):
        if element.tag == "controller":
            continue
        tag, attribute = _MARKS.get(element.tag, ("", ""))
        mark = element.find(tag) if tag else None
        count[element.tag] += 1
        yield (element.tag, mark.get(attribute, "") if mark is not None else str(count[element.tag])), element


def _root(xml: str) -> Element:
    return fromstring(xml)  # noqa: S314  libvirtd wrote it
