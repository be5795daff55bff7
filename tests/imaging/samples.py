"""Disk images made on the spot: good ones in every format, and the hostile ones of the corpus, by one function each."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pycdlib

MIB = 1 << 20
Make = Callable[[Path], None]
CANARY = "/etc/passwd"  # what a hostile image would like to have read


def qemu_img(*arguments: object, cwd: Path) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], cwd=cwd, check=True, capture_output=True)


def raw(path: Path, size: int = 8 * MIB) -> None:
    """A disk with some data, and a hole."""
    with path.open("wb") as file:
        file.write(b"\xeb\x63\x90" + bytes(range(256)) * 4096)
        file.truncate(size)


def converted(fmt: str, *options: str, version: str = "") -> Make:
    def make(path: Path) -> None:
        plain = path.with_name("plain")
        raw(plain)
        named = ["-o", ",".join([*options, *([f"compat={version}"] if version else [])])]
        qemu_img(
            "convert", "-f", "raw", "-O", fmt, *(named if options or version else []), plain, path, cwd=path.parent
        )
        plain.unlink()

    return make


def created(fmt: str, size: str, *options: str) -> Make:
    return lambda path: qemu_img("create", "-q", "-f", fmt, *options, path, size, cwd=path.parent)


def compressed_qcow2(path: Path) -> None:
    plain = path.with_name("plain")
    raw(plain)
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", plain, path, cwd=path.parent)
    plain.unlink()


def snapshotted_qcow2(path: Path) -> None:
    converted("qcow2")(path)
    qemu_img("snapshot", "-c", "before", path, cwd=path.parent)


def partitioned(path: Path) -> None:
    raw(path)
    subprocess.run(["sfdisk", "-q", path], input=b"label: gpt\n,2M\n", check=True, capture_output=True)


def iso(path: Path) -> None:
    made = pycdlib.PyCdlib()
    made.new(vol_ident="cidata", joliet=3)
    text = b"hello\n" * 100_000
    made.add_fp(io.BytesIO(text), len(text), "/HELLO.;1", joliet_path="/hello")
    made.write(str(path))
    made.close()


def hybrid_iso(path: Path) -> None:
    """An ISO that boots from a stick: with a partition table over its first sector."""
    iso(path)
    table = b"\x80\x00\x02\x00\x83\xff\xff\xff" + struct.pack("<II", 1, 64)
    put(path, 446, table)
    put(path, 510, b"\x55\xaa")


def raw_with_header_inside(path: Path) -> None:
    raw(path)
    put(path, MIB, b"QFI\xfb\x00\x00\x00\x03")


def put(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def changed(make: Make, *puts: tuple[int, bytes]) -> Make:
    def made(path: Path) -> None:
        make(path)
        for at, data in puts:
            put(path, at if at >= 0 else path.stat().st_size + at, data)

    return made


def text(content: str) -> Make:
    return lambda path: path.write_text(content) and None


def content(data: bytes) -> Make:
    return lambda path: path.write_bytes(data) and None


def cut(make: Make, size: Callable[[int], int]) -> Make:
    def made(path: Path) -> None:
        make(path)
        with path.open("r+b") as file:
            file.truncate(size(path.stat().st_size))

    return made


def backed(reference: str, fmt: str | None = "raw") -> Make:
    """qemu-img makes it without looking whether the backing file is there."""

    def make(path: Path) -> None:
        told = ["-F", fmt] if fmt else []
        qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", reference, *told, path, "64K", cwd=path.parent)

    def by_hand(path: Path) -> None:
        """Without a format beside the name, which qemu-img does not write any more."""
        converted("qcow2")(path)
        name = reference.encode()
        put(path, 8, struct.pack(">QI", 512, len(name)))
        put(path, 512, name)

    return make if fmt else by_hand


def data_file(path: Path) -> None:
    name = str(path.with_name("datafile___"))  # of the length of the name that takes its place
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={name},data_file_raw=on", path, "64K", cwd=path.parent)
    Path(name).unlink()
    whole = path.read_bytes().replace(name.encode(), CANARY.encode().ljust(len(name), b"\0"))
    path.write_bytes(whole)


def data_file_without_bit(path: Path) -> None:
    """The name is there, the bit that says so is not."""
    data_file(path)
    put(path, 72, b"\0" * 8)


def descriptor(kind: str, extent: str, more: str = "") -> Make:
    return text(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        f'createType="{kind}"\n{more}\nRW 16384 {extent}\n' + "# padding\n" * 60
    )


def embedded(*lines: str, capacity: int = 0) -> Make:
    """A sparse VMDK whose header may leave it (capacity 0) to the description in it where its data lies."""

    def make(path: Path) -> None:
        header = struct.pack("<4sIIQQQQIQQQ", b"KDMV", 1, 3, capacity, 128, 1, 20, 512, 21, 26, 128)
        words = "\n".join(["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff", *lines, ""])
        path.write_bytes((header.ljust(512, b"\0") + words.encode()).ljust(1 << 20, b"\0"))

    return make


def disguised_iso(path: Path) -> None:
    """An ISO whose first sectors are the description of a VMDK."""
    iso(path)
    words = path.with_name("words")
    descriptor("monolithicFlat", f'FLAT "{CANARY}" 0')(words)
    put(path, 0, words.read_bytes())
    words.unlink()


def iso_that_is_qcow2(path: Path) -> None:
    iso(path)
    header = path.with_name("header")
    backed(CANARY)(header)
    put(path, 0, header.read_bytes()[:512])
    header.unlink()


def shared_clusters(path: Path) -> None:
    """384 KiB that unfold to 64 GiB: all entries of all tables lead to the same place; its counts are honest."""
    size, cluster, entries = 64 << 30, 1 << 16, 8192
    tables = size // cluster // entries
    layout = {"refcount_table": 1, "refcount_block": 2, "l1": 3, "l2": 4, "data": 5}
    at = {name: place * cluster for name, place in layout.items()}
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, 16, size, 0, tables, at["l1"], at["refcount_table"], 1, 0, 0
    )
    header += struct.pack(">QQQII", 0, 0, 0, 6, 104)
    with path.open("wb") as file:
        file.truncate(6 * cluster)
    put(path, 0, header)
    put(path, at["refcount_table"], struct.pack(">Q", at["refcount_block"]))
    put(path, at["refcount_block"], struct.pack(">6Q", 1, 1, 1, 1, tables, tables * entries))
    put(path, at["l1"], struct.pack(">Q", at["l2"]) * tables)
    put(path, at["l2"], struct.pack(">Q", at["data"]) * entries)
    put(path, at["data"], b"A" * cluster)


def packed(kind: str) -> Make:
    zeros = b"\0" * MIB
    bombs: dict[str, Callable[[], bytes]] = {
        "gz": lambda: gzip.compress(zeros) * 64,
        "bz2": lambda: bz2.compress(zeros) * 64,
        "xz": lambda: lzma.compress(zeros) * 64,
        "zst": lambda: subprocess.run(["zstd", "-qc"], input=zeros, capture_output=True, check=True).stdout * 64,
        "tar": lambda: archive("../../etc/cron.d/x"),
        "zip": zipped,
    }
    return lambda path: path.write_bytes(bombs[kind]()) and None


def archive(name: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("disk.vmdk")
        link.type, link.linkname = tarfile.SYMTYPE, CANARY
        tar.addfile(link)
    return made.getvalue()


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("../../x", b"0" * 1000)
    return made.getvalue()


def vhdx_with_parent(path: Path) -> None:
    converted("vhdx")(path)
    whole = path.read_bytes()
    parameters = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
    entry = whole.index(parameters)
    region = whole.index(b"metadata")
    offset = struct.unpack_from("<I", whole, entry + 16)[0]
    put(path, region + offset + 4, struct.pack("<I", 2))
