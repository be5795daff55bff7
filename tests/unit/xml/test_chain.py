"""What is read out of a running definition about a disk's files."""

from __future__ import annotations

from hosts.driver.xml.chain import Link, chain_of, targets_of

RUNNING = """
<domain><devices>
  <disk type='file' device='disk'>
    <source file='/pool/top.qcow2' index='3'/>
    <backingStore type='volume' index='1'>
      <format type='qcow2'/><source pool='berth' volume='middle.qcow2'/>
      <backingStore type='block' index='2'>
        <format type='qcow2'/><source dev='/dev/vg0/image'/><backingStore/>
      </backingStore>
    </backingStore>
    <target dev='vda' bus='virtio'/>
  </disk>
  <disk type='volume' device='cdrom'><target dev='sda'/></disk>
</devices></domain>
"""


def test_the_chain_is_read_from_top_to_bottom() -> None:
    assert chain_of(RUNNING, "vda") == [Link("top.qcow2", "3"), Link("middle.qcow2", "1"), Link("image", "2")]
    assert chain_of(RUNNING, "sda") == []
    assert chain_of(RUNNING, "vdb") == []
    assert targets_of(RUNNING) == ["vda", "sda"]
