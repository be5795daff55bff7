"""What oslo's inspectors leave open: headers read by ourselves, a few kilobytes at fixed places."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from portal.core.outbound.refusal import Refused
from vms.imaging.formats import Format
from vms.imaging.refusal import damaged

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x5d\x00\x00": "lzma",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
}
_TAR_AT, _TAR = 257, b"ustar"
SECTOR = 512
_FARTHEST = 1 << 62  # that can be sought


def refuse_packed(file: BinaryIO) -> None:
    """Archives and compressed files: what is in them would have to be unpacked before anybody could look at it."""
    head = _read(file, 0, SECTOR)
    kind = next((name for magic, name in _PACKED.items() if head.startswith(magic)), "")
    if head[_TAR_AT:].startswith(_TAR):
        kind = "tar"
    if kind:
        raise Refused("image_compressed", f"This is a {kind} file. Unpack it, and send the disk image in it.")


def refuse_description(file: BinaryIO) -> None:
    """The text file of a VMDK in parts: to others it looks like any text, so like a raw disk."""
    if b"disk descriptorfile" in _read(file, 0, SECTOR).lower():
        raise external("it is only the description of a disk that lies in other files")


def check(file: BinaryIO, format: Format, size: int) -> None:
    """Raises Refused. `size` is the file's."""
    found = _CHECKS.get(format)
    if found is not None:
        try:
            found(file, size)
        except struct.error as error:
            raise damaged("its header is cut off") from error


def is_fixed_vhd(file: BinaryIO, size: int) -> bool:
    """A raw disk with a VHD footer that says so."""
    footer = _read(file, size - SECTOR, SECTOR) if size > SECTOR else b""
    return footer.startswith(b"conectix") and struct.unpack(">I", footer[60:64])[0] == _VHD_FIXED


# -- qcow2: https://gitlab.com/qemu-project/qemu/-/blob/master/docs/interop/qcow2.rst ---------------------------------
_CORRUPT_BIT = 1 << 1
_EXTERNAL_DATA, _ENCRYPTION_HEADER = 0x44415441, 0x0537BE77
_MOST_EXTENSIONS = 64


def _qcow2(file: BinaryIO, size: int) -> None:
    head = _read(file, 0, 112)
    version, _, _, cluster_bits, _, encryption = struct.unpack(">IQIIQI", head[4:36])
    if encryption:
        raise _encrypted()
    if not 9 <= cluster_bits <= 21:
        raise damaged("its clusters have an impossible size")
    if version == 2:
        return
    features, header_length = struct.unpack(">Q", head[72:80])[0], struct.unpack(">I", head[100:104])[0]
    if features & _CORRUPT_BIT:
        raise damaged("it is marked as corrupt; repair it with qemu-img check first")
    _qcow2_extensions(file, header_length, 1 << cluster_bits)


def _qcow2_extensions(file: BinaryIO, at: int, end: int) -> None:
    for _ in range(_MOST_EXTENSIONS):
        if at + 8 > end:
            return
        kind, length = struct.unpack(">II", _read(file, at, 8))
        if kind == 0:
            return
        if kind == _EXTERNAL_DATA:
            raise external("its data lies in another file")
        if kind == _ENCRYPTION_HEADER:
            raise _encrypted()
        at += 8 + (length + 7) // 8 * 8
    raise damaged("its header does not end")


# -- VMDK: VMware, Virtual Disk Format 5.0 ----------------------------------------------------------------------------
_MOST_DESCRIPTOR = 64 * 1024
_EXTENT = re.compile(rb'(RW|RDONLY) [0-9]+ SPARSE "[^"/\\]+" *')
_EXTENT_WORDS = (b"rw", b"rdonly", b"noaccess")
_CREATE_TYPE = re.compile(rb'createType *= *"(monolithicSparse|streamOptimized)" *')


def _vmdk(file: BinaryIO, size: int) -> None:
    """One file that holds all. Read more strictly than by QEMU, so that no line means one thing here, another there."""
    head = _read(file, 0, SECTOR)
    if head[:4] != b"KDMV":
        raise damaged("its header is none of a vmdk")
    capacity, _, at, length = struct.unpack("<QQQQ", head[12:44])
    if not capacity or not at:  # QEMU takes what the descriptor names for the disk then
        raise external("its header leaves it to a description where its data lies")
    descriptor = _read(file, at * SECTOR, min(length * SECTOR, _MOST_DESCRIPTOR)).rstrip(b"\0")
    lines = [line.rstrip(b"\r") for line in descriptor.split(b"\n")]
    if any(byte < 0x20 for line in lines for byte in line):
        raise damaged("its description has bytes that are no text")
    extents = [line for line in lines if line.lower().lstrip().startswith(_EXTENT_WORDS)]
    types = [line for line in lines if b"createtype" in line.lower()]
    if len(extents) != 1 or not _EXTENT.fullmatch(extents[0]):
        raise external("its description names other files")
    if len(types) != 1 or not _CREATE_TYPE.fullmatch(types[0]):
        raise Refused("image_unsupported", "This kind of vmdk is not taken.")


# -- VDI: VirtualBox, include/VBox/vd-vdi ------------------------------------------------------------------------------
_VDI_TYPES = (1, 2)  # dynamic, fixed; 3 is undo, 4 stands on another image


def _vdi(file: BinaryIO, size: int) -> None:
    head = _read(file, 0, SECTOR)
    kind = struct.unpack("<I", head[0x4C:0x50])[0]
    data_at, block_size, allocated = (struct.unpack("<I", head[at : at + 4])[0] for at in (0x158, 0x178, 0x184))
    if kind not in _VDI_TYPES or any(head[0x1A8:0x1C8]):
        raise external("it stands on another image")
    if data_at + allocated * block_size > size:
        raise damaged("blocks of it are missing")


# -- VHD: Virtual Hard Disk Image Format Specification, 2006 ----------------------------------------------------------
_VHD_FIXED, _VHD_DYNAMIC = 2, 3


def _vhd(file: BinaryIO, size: int) -> None:
    footer = _read(file, size - SECTOR, SECTOR)
    if not footer.startswith(b"conectix"):
        raise damaged("its end is missing")
    kind = struct.unpack(">I", footer[60:64])[0]
    if kind == _VHD_FIXED:
        return
    header_at = struct.unpack(">Q", _read(file, 0, SECTOR)[16:24])[0]
    header = _read(file, min(header_at, size), 1024)
    if kind != _VHD_DYNAMIC or any(header[40:56]) or any(header[576:768]):
        raise external("it stands on another image")


# -- VHDX: [MS-VHDX] 2.6.2.1 -------------------------------------------------------------------------------------------
_VHDX_REGIONS_AT, _VHDX_REGIONS_SIZE = 192 * 1024, 64 * 1024
_METADATA = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
_FILE_PARAMETERS = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
_HAS_PARENT = 1 << 1
_MOST_ENTRIES = 2047


def _vhdx(file: BinaryIO, size: int) -> None:
    table = _read(file, _VHDX_REGIONS_AT, _VHDX_REGIONS_SIZE)
    region_at = _entry(table, 16, struct.unpack("<I", table[8:12])[0], _METADATA, "<Q")
    metadata = _read(file, region_at, 32 * (_MOST_ENTRIES + 1))
    item_at = _entry(metadata, 32, struct.unpack("<H", metadata[10:12])[0], _FILE_PARAMETERS, "<I")
    if struct.unpack("<II", _read(file, region_at + item_at, 8))[1] & _HAS_PARENT:
        raise external("it stands on another image")


def _entry(table: bytes, first: int, count: int, wanted: bytes, offset: str) -> int:
    """The offset that a table has for a GUID; entries are of 32 bytes."""
    for at in range(first, first + 32 * min(count, _MOST_ENTRIES), 32):
        if table[at : at + 16] == wanted:
            return int(struct.unpack_from(offset, table, at + 16)[0])
    raise damaged("its tables are incomplete")


# -- ISO 9660: ECMA-119 8.4 --------------------------------------------------------------------------------------------
_VOLUME_AT, _ISO_SECTOR = 32 * 1024, 2048
_PADDING = 300 * 1024  # that writers of discs leave away at the end


def _iso(file: BinaryIO, size: int) -> None:
    volume = _read(file, _VOLUME_AT, _ISO_SECTOR)
    if volume[:6] != b"\x01CD001":
        return  # a pure UDF disc says nowhere near how long it is
    blocks, block_size = struct.unpack("<I", volume[80:84])[0], struct.unpack("<H", volume[128:130])[0]
    if blocks * block_size > size + _PADDING:
        raise damaged("its end is missing")


_CHECKS: dict[Format, Callable[[BinaryIO, int], None]] = {
    Format.QCOW2: _qcow2,
    Format.VMDK: _vmdk,
    Format.VDI: _vdi,
    Format.VHD: _vhd,
    Format.VHDX: _vhdx,
    Format.ISO: _iso,
}


def external(why: str) -> Refused:
    return Refused("image_external_reference", f"The image is not whole: {why}. Flatten it into one file first.")


def _encrypted() -> Refused:
    return Refused("image_encrypted", "The image is encrypted. Send it decrypted.")


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    """Less where the file ends before; whatever offset a header names."""
    file.seek(min(max(at, 0), _FARTHEST))
    return file.read(length)
