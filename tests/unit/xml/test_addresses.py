"""Where devices sit when a guest goes on from its memory."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from hosts.driver.xml.addresses import with_addresses_of

DEFINITION = """
<domain><name>now</name><devices>
  <controller type='pci' index='0' model='pcie-root'/>
  <disk><source volume='new'/><target dev='vda'/><address bus='0x05'/></disk>
  <disk><source volume='hot'/><target dev='vdb'/><address bus='0x06'/></disk>
  <disk><source volume='fresh'/><target dev='vdc'/><address bus='0x07'/></disk>
  <interface><mac address='52:54:00:00:00:01'/><address bus='0x01'/></interface>
  <rng><address bus='0x08'/></rng>
  <memballoon/>
</devices></domain>
"""
SAVED = """
<domain><name>then</name><devices>
  <disk><source volume='old'/><target dev='vdb'/><address bus='0x08'/></disk>
  <disk><source volume='old'/><target dev='vda'/><address bus='0x05'/></disk>
  <controller type='pci' index='0' model='pcie-root'/>
  <controller type='pci' index='1' model='pcie-root-port'/>
  <interface><mac address='52:54:00:00:00:01'/><address bus='0x02'/></interface>
  <memballoon><address bus='0x06'/></memballoon>
  <rng><address bus='0x07'/></rng>
</devices></domain>
"""


def test_each_device_is_where_it_was_and_all_else_as_it_is_now() -> None:
    root = fromstring(with_addresses_of(DEFINITION, SAVED))
    assert root.findtext("name") == "now"
    assert [source.get("volume") for source in root.iterfind("devices/disk/source")] == ["new", "hot", "fresh"]
    found = {device.tag + str(index): device.find("address") for index, device in enumerate(root.find("devices") or ())}
    places = {name: address.get("bus") for name, address in found.items() if address is not None}
    assert places == {"disk0": "0x05", "disk1": "0x08", "interface3": "0x02", "rng4": "0x07", "memballoon5": "0x06"}
    assert len(root.findall("devices/controller")) == 2
