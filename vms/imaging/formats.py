"""The formats that are taken, and what others call them."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    QCOW2 = "qcow2"
    RAW = "raw"
    VMDK = "vmdk"
    VDI = "vdi"
    VHD = "vhd"
    VHDX = "vhdx"
    ISO = "iso"

    @property
    def in_qemu(self) -> str:
        """QEMU's name of the driver; to it an ISO is raw."""
        return _IN_QEMU.get(self, self.value)


_IN_QEMU = {Format.VHD: "vpc", Format.ISO: "raw"}
# Which sets of oslo's inspectors may recognise a file of the format. "gpt" is any partition table: of raw disks, and of
# ISOs that boot from a stick as well.
RECOGNISED: dict[Format, tuple[frozenset[str], ...]] = {
    Format.QCOW2: (frozenset({"qcow2"}),),
    Format.RAW: (frozenset({"raw"}), frozenset({"gpt"})),
    Format.VMDK: (frozenset({"vmdk"}),),
    Format.VDI: (frozenset({"vdi"}),),
    Format.VHD: (frozenset({"vhd"}),),
    Format.VHDX: (frozenset({"vhdx"}),),
    Format.ISO: (frozenset({"iso"}), frozenset({"iso", "gpt"})),
}
# A fixed VHD is a raw disk with a footer.
FIXED_VHD = RECOGNISED[Format.RAW]
