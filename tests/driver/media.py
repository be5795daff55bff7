"""Media that guests boot from otherwise than by a disk's first sector: a CD, and a disk for UEFI."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path
from uuid import uuid4

import pycdlib

MIB = 1 << 20
POWER_OFF_16 = bytes.fromhex("ba0406 b80020 ef f4")  # out 0x604, 0x2000; hlt
POWER_OFF_64 = bytes.fromhex("66ba0406 66b80020 66ef f4")  # the same in 64-bit mode, where UEFI leaves its programs
_ALIGNMENT = 512


def bootable_iso(code: bytes = POWER_OFF_16) -> bytes:
    """An ISO 9660 image whose El Torito boot record has `code`, loaded at 0x7C00 in 16-bit mode."""
    iso = pycdlib.PyCdlib()
    iso.new(vol_ident="installer")
    boot = code.ljust(2048, b"\0")
    iso.add_fp(io.BytesIO(boot), len(boot), "/BOOT.;1")
    iso.add_eltorito("/BOOT.;1", bootcatfile="/BOOT.CAT;1")
    buffer = io.BytesIO()
    iso.write_fp(buffer)
    iso.close()
    return buffer.getvalue()


def uefi_disk(directory: Path, code: bytes = POWER_OFF_64) -> bytes:
    """A raw disk whose FAT file system has `code` as the program that UEFI looks for on it."""
    program, disk = directory / f"{uuid4()}.efi", directory / f"{uuid4()}.raw"
    program.write_bytes(efi_program(code))
    disk.write_bytes(bytes(8 * MIB))
    subprocess.run(["mformat", "-i", disk, "::"], check=True)
    subprocess.run(["mmd", "-i", disk, "::/EFI", "::/EFI/BOOT"], check=True)
    subprocess.run(["mcopy", "-i", disk, program, "::/EFI/BOOT/BOOTX64.EFI"], check=True)
    return disk.read_bytes()


def efi_program(code: bytes) -> bytes:
    """A PE32+ executable of one section (Microsoft's PE format; subsystem 10 is an EFI application)."""
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x0202)
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, _ALIGNMENT, 0, 0, _ALIGNMENT, _ALIGNMENT)
    optional += struct.pack("<QII", 0, _ALIGNMENT, _ALIGNMENT) + struct.pack("<HHHHHHI", 0, 0, 0, 0, 0, 0, 0)
    optional += struct.pack("<IIIHH", 2 * _ALIGNMENT, _ALIGNMENT, 0, 10, 0)
    optional += struct.pack("<QQQQII", MIB, MIB, MIB, MIB, 0, 16)
    section = b".text".ljust(8, b"\0")
    section += struct.pack("<IIIIIIHHI", len(code), _ALIGNMENT, _ALIGNMENT, _ALIGNMENT, 0, 0, 0, 0, 0x60000020)
    headers = dos + coff + optional.ljust(240, b"\0") + section
    return headers.ljust(_ALIGNMENT, b"\0") + code.ljust(_ALIGNMENT, b"\0")
