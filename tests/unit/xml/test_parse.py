"""What is read from libvirt's XML, also where a host leaves things out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hosts.driver.types import Accelerator, VolumeFacts
from hosts.driver.xml import parse

CAPABILITIES = """
<capabilities>
  <host><uuid>x</uuid><cpu><arch>x86_64</arch><model>Skylake-Client</model></cpu></host>
  <guest><os_type>hvm</os_type><arch name='i686'><domain type='xen'/></arch></guest>
  <guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest>
</capabilities>"""

VOLUME = """
<volume type='file'>
  <name>disk.qcow2</name>
  <capacity unit='bytes'>1048576</capacity><allocation unit='bytes'>200704</allocation>
  <target>
    <path>/pool/disk.qcow2</path><format type='qcow2'/>
    <timestamps><mtime>1700000000.5</mtime></timestamps>
  </target>
  <backingStore><path>/pool/image.qcow2</path><format type='qcow2'/></backingStore>
</volume>"""


def test_capabilities() -> None:
    both = (Accelerator.KVM, Accelerator.TCG)
    assert parse.capabilities(CAPABILITIES) == parse.Capabilities("x", "Skylake-Client", both)
    without_kvm = CAPABILITIES.replace("<domain type='kvm'/>", "")
    assert parse.capabilities(without_kvm).accelerators == (Accelerator.TCG,)
    pages = (
        "<topology><cells><cell><pages unit='KiB' size='4'>9</pages><pages unit='KiB' size='2048'>512</pages></cell>"
    )
    with_pages = CAPABILITIES.replace("</cpu></host>", f"</cpu>{pages}</cells></topology></host>")
    assert parse.capabilities(with_pages).huge_pages_mib == 1024
    assert parse.capabilities("<capabilities/>") == parse.Capabilities("", "", ())


def test_volume() -> None:
    assert parse.volume(VOLUME) == VolumeFacts(
        "disk.qcow2", "/pool/disk.qcow2", "qcow2", 1048576, 200704, "image.qcow2"
    )
    assert parse.volume_modified_at(VOLUME) == datetime.fromtimestamp(1700000000.5, UTC)


def test_a_raw_volume_whatever_libvirt_sees_in_it() -> None:
    volume = parse.volume("<volume><name>a</name><target><format type='iso'/></target></volume>")
    assert (volume.format, volume.backing) == ("raw", None)
    assert parse.volume_modified_at("<volume/>") is None


@pytest.mark.parametrize(
    ("address", "cidr"),
    [
        ("<ip address='10.75.0.1' prefix='24'/>", "10.75.0.0/24"),
        ("<ip address='192.168.122.1' netmask='255.255.255.0'/>", "192.168.122.0/24"),
        ("<ip family='ipv6' address='fd00::1' prefix='64'/><ip address='10.1.1.1' prefix='30'/>", "10.1.1.0/30"),
        ("", ""),
    ],
)
def test_network_cidr(address: str, cidr: str) -> None:
    assert parse.network_cidr(f"<network>{address}</network>") == cidr


def test_dhcp_hosts() -> None:
    hosts = "<host mac='52:54:00:AA:00:01' ip='10.0.0.2'/><host name='no-mac' ip='10.0.0.3'/>"
    assert parse.dhcp_hosts(f"<network><ip><dhcp>{hosts}</dhcp></ip></network>") == {"52:54:00:aa:00:01": "10.0.0.2"}
