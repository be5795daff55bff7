"""Images that are taken, and images that are not: the corpus of hostile files, each made here."""

from __future__ import annotations

import resource
import struct
import time
from pathlib import Path

import pytest

from portal.core.outbound.refusal import Refused
from tests.imaging import samples as s
from vms.imaging import inspect, jail, qemu
from vms.imaging.formats import Format

MOST_DISK_BYTES = 1 << 40
BIG = struct.pack(">Q", 0x7FFFFFFFFFFFFE00)

GOOD: list[tuple[str, s.Make]] = [
    ("raw", s.raw),
    ("raw", s.partitioned),
    ("raw", s.raw_with_header_inside),
    ("raw", s.content(b"\0" * 512)),
    ("qcow2", s.converted("qcow2", version="0.10")),
    ("qcow2", s.converted("qcow2", version="1.1")),
    ("qcow2", s.compressed_qcow2),
    ("qcow2", s.converted("qcow2", "lazy_refcounts=on", version="1.1")),
    ("qcow2", s.converted("qcow2", "cluster_size=512")),
    ("qcow2", s.converted("qcow2", "cluster_size=2M")),
    ("qcow2", s.converted("qcow2", "preallocation=full")),
    ("qcow2", s.created("qcow2", "10G")),
    ("qcow2", s.snapshotted_qcow2),
    ("vmdk", s.converted("vmdk")),
    ("vmdk", s.converted("vmdk", "subformat=streamOptimized")),
    ("vdi", s.converted("vdi")),
    ("vdi", s.converted("vdi", "static=on")),
    ("vhd", s.converted("vpc")),
    ("vhd", s.converted("vpc", "subformat=fixed")),
    ("vhdx", s.converted("vhdx")),
    ("vhdx", s.converted("vhdx", "subformat=fixed")),
    ("iso", s.iso),
    ("iso", s.hybrid_iso),
]

EXTERNAL, MISMATCH, DAMAGED = "image_external_reference", "image_format_mismatch", "image_damaged"
LARGE, PACKED, ENCRYPTED, UNSUPPORTED = "image_too_large", "image_compressed", "image_encrypted", "image_unsupported"
REFERENCES = (
    (s.CANARY, "raw"),
    (s.CANARY, None),
    ("../../../../etc/passwd", "raw"),
    ('json:{"driver":"file","filename":"/etc/passwd"}', "raw"),
    ("nbd://127.0.0.1/x", "raw"),
    ("http://169.254.169.254/", "raw"),
    ("/dev/vda", "raw"),
    ("/proc/self/environ", "raw"),
    ("source", "qcow2"),
)
HOSTILE: list[tuple[str, str, s.Make]] = [
    *(("qcow2", EXTERNAL, s.backed(*reference)) for reference in REFERENCES),  # 79
    ("raw", MISMATCH, s.backed(s.CANARY)),  # 80
    ("iso", MISMATCH, s.backed(s.CANARY)),
    ("qcow2", EXTERNAL, s.data_file),  # 81
    ("qcow2", EXTERNAL, s.data_file_without_bit),
    *(
        (told, EXTERNAL, s.descriptor(kind, extent, more))  # 82
        for told in ("vmdk", "raw")
        for kind, extent, more in (
            ("monolithicFlat", f'FLAT "{s.CANARY}" 0', ""),
            ("vmfs", f'VMFS "{s.CANARY}"', ""),
            ("twoGbMaxExtentFlat", f'FLAT "{s.CANARY}" 0', ""),
            ("monolithicSparse", f'SPARSE "{s.CANARY}"', f'parentFileNameHint="{s.CANARY}"'),
        )
    ),
    *(
        ("vmdk", "", s.embedded(*lines, capacity=capacity))
        for capacity in (0, 128)
        for lines in (
            (  # oslo takes it for sparse, QEMU for flat
                'CREATETYPE="monolithicSparse"',
                'createType="monolithicFlat"',
                'rw 1 FLAT "x" 0',
                f'RW\t128\tFLAT\t"{s.CANARY}"\t0\t=',
            ),
            ('createType="monolithicFlat"', f'RW 128 FLAT "{s.CANARY}" 0'),
            ('createType="monolithicSparse"', 'RW 128 SPARSE "source"', 'RW 128 SPARSE "other"'),
            ('createType="monolithicSparse"', 'createType="monolithicSparse"', 'RW 128 SPARSE "source"'),
            ('createtype="monolithicSparse"', 'RW 128 SPARSE "source"'),
            ('createType="monolithicSparse"', 'RW 128 SPARSE "dir/source"'),
        )
    ),
    ("iso", EXTERNAL, s.disguised_iso),  # 83
    ("iso", MISMATCH, s.iso_that_is_qcow2),
    ("qcow2", LARGE, s.created("qcow2", "2T")),  # 84; by quota in tests/engine
    ("qcow2", "", s.changed(s.created("qcow2", "1M"), (24, BIG))),  # 85
    *(("raw", PACKED, s.packed(kind)) for kind in ("gz", "bz2", "xz", "zst", "tar", "zip")),  # 87, 90
    ("qcow2", PACKED, s.packed("gz")),
    ("vmdk", PACKED, s.packed("tar")),
    *(  # 88
        (told, "", s.cut(make, lambda size: size // 2))
        for told, make in (
            ("qcow2", s.converted("qcow2")),
            ("vmdk", s.converted("vmdk")),
            ("vmdk", s.converted("vmdk", "subformat=streamOptimized")),
            ("vdi", s.converted("vdi")),
            ("vhd", s.converted("vpc")),
            ("vhdx", s.converted("vhdx", "subformat=fixed")),
            ("iso", s.iso),
        )
    ),
    ("qcow2", "", s.cut(s.converted("qcow2"), lambda size: 512)),
    ("qcow2", "", s.content(b"QFI\xfb")),
    ("raw", DAMAGED, s.content(b"")),
    ("raw", DAMAGED, s.content(b"\0" * 511)),
    ("iso", "", s.content(b"\0" * 40_000)),
    ("qcow2", UNSUPPORTED, s.changed(s.converted("qcow2"), (72, struct.pack(">Q", 1 << 9)))),  # 89
    ("qcow2", UNSUPPORTED, s.changed(s.converted("qcow2"), (72, struct.pack(">Q", 1 << 63)))),
    ("qcow2", DAMAGED, s.changed(s.converted("qcow2"), (72, struct.pack(">Q", 1 << 1)))),
    ("qcow2", UNSUPPORTED, s.changed(s.converted("qcow2"), (4, struct.pack(">I", 1)))),
    ("qcow2", UNSUPPORTED, s.changed(s.converted("qcow2"), (4, struct.pack(">I", 4)))),
    ("qcow2", DAMAGED, s.changed(s.converted("qcow2"), (20, struct.pack(">I", 0)))),
    ("qcow2", DAMAGED, s.changed(s.converted("qcow2"), (20, struct.pack(">I", 63)))),
    ("qcow2", DAMAGED, s.changed(s.converted("qcow2"), (36, struct.pack(">I", 2**32 - 1)))),
    ("qcow2", DAMAGED, s.changed(s.converted("qcow2"), (56, struct.pack(">I", 2**31)))),
    ("qcow2", ENCRYPTED, s.changed(s.converted("qcow2"), (32, struct.pack(">I", 1)))),
    ("qcow2", ENCRYPTED, s.changed(s.converted("qcow2"), (32, struct.pack(">I", 2)))),
    ("raw", "", s.content(b"LUKS\xba\xbe\x00\x01" + bytes(range(256)) * 9000)),
    ("raw", "", s.content(b"LUKS\xba\xbe\x00\x02" + bytes(range(256)) * 9000)),
    ("vhdx", "", s.changed(s.converted("vhdx"), (196608 + 8, struct.pack("<I", 65535)))),
    ("vhdx", EXTERNAL, s.vhdx_with_parent),
    ("vdi", "", s.changed(s.converted("vdi"), (0x170, struct.pack("<q", -512)))),
    ("vdi", EXTERNAL, s.changed(s.converted("vdi"), (0x4C, struct.pack("<I", 4)))),
    ("vdi", EXTERNAL, s.changed(s.converted("vdi"), (0x1A8, b"\x01" * 16))),
    ("vhd", EXTERNAL, s.changed(s.converted("vpc"), (60, struct.pack(">I", 4)), (-452, struct.pack(">I", 4)))),
    ("raw", MISMATCH, s.created("qed", "1M")),
    ("qcow2", MISMATCH, s.created("qed", "1M")),
    ("qcow2", UNSUPPORTED, s.created("qcow", "1M")),
    ("qcow2", MISMATCH, s.raw),
    ("raw", MISMATCH, s.converted("vdi")),
    ("iso", MISMATCH, s.raw),
    ("vhd", MISMATCH, s.raw),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "intake"
    directory.mkdir(mode=0o700)
    return directory / "source"


def taken(source: Path, told: str) -> Path:
    """The clean file, as the import makes it; what it was made of is left alone."""
    jail.give(source.parent, source)
    found = inspect.inspect(source, Format(told), MOST_DISK_BYTES)
    clean = source.with_name("clean")
    qemu.convert(source, Format(told), clean, found.needed_bytes + (4 << 20))
    inspect.require_clean(clean)
    assert clean.stat().st_size <= found.needed_bytes + (4 << 20)
    return clean


@pytest.mark.parametrize(("told", "make"), GOOD, ids=[f"{told}-{i}" for i, (told, _) in enumerate(GOOD)])
def test_good_images_are_taken(source: Path, told: str, make: s.Make) -> None:
    make(source)
    clean = taken(source, told)
    before = Format(told).in_qemu
    if told != "raw" or source.stat().st_size > 512:
        s.qemu_img("compare", "-f", before, "-F", "qcow2", source, clean, cwd=source.parent)
    assert qemu.facts(clean, None) == qemu.facts(clean, Format.QCOW2)


@pytest.mark.parametrize(
    ("told", "code", "make"), HOSTILE, ids=[f"{told}-{i}" for i, (told, _, _) in enumerate(HOSTILE)]
)
def test_hostile_images_are_refused(source: Path, told: str, code: str, make: s.Make) -> None:
    """With the right word, at once, and without a byte of what they point to."""
    canary = Path(s.CANARY)
    before = (canary.read_bytes(), canary.stat().st_mtime_ns)
    make(source)
    began = time.monotonic()
    with pytest.raises(Refused) as refusal:
        taken(source, told)
    assert time.monotonic() - began < 10
    assert code in ("", refusal.value.code), refusal.value
    assert not any(word in refusal.value.detail for word in ("/", "passwd", "qemu-img:"))
    assert (canary.read_bytes(), canary.stat().st_mtime_ns) == before
    assert not source.with_name("clean").exists()


def test_a_bomb_is_seen_before_it_goes_off(source: Path) -> None:
    """86: its tables are sound to qemu-img, so only its size tells."""
    s.shared_clusters(source)
    jail.give(source.parent, source)
    found = inspect.inspect(source, Format.QCOW2, MOST_DISK_BYTES)
    assert found.needed_bytes > 60 << 30, "what a quota refuses"
    with pytest.raises(Refused) as refusal:
        qemu.convert(source, Format.QCOW2, source.with_name("clean"), 16 << 20)
    assert refusal.value.code == "image_too_large"
    assert source.with_name("clean").stat().st_size <= 16 << 20


MOST_KIB = 512 * 1024


@pytest.fixture(scope="module", autouse=True)
def largest_child_before() -> int:
    """In KiB; other tests of this process may have started larger ones."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def test_no_image_takes_much_memory(source: Path, largest_child_before: int) -> None:
    """All the tools of this process so far, the hostile ones among them."""
    if largest_child_before >= MOST_KIB:
        pytest.skip("a larger child of another test hides those of these")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < MOST_KIB


def test_the_jail_has_no_network_and_no_rights(source: Path) -> None:
    source.write_bytes(b"0" * 512)
    jail.give(source.parent, source)
    limits = jail.Limits(cpu_seconds=5, wall_seconds=10, memory_bytes=1 << 30, file_bytes=4096)
    assert jail.run(["id", "-u"], source.parent, limits).output.strip() == str(jail.UID)
    if jail.is_apart():
        lines = jail.run(["cat", "/proc/net/dev"], source.parent, limits).output.splitlines()
        assert [line.split(":")[0].strip() for line in lines[2:]] == ["lo"]
    assert jail.run(["cat", "/etc/shadow"], source.parent, limits).code != 0
    assert jail.run(["sh", "-c", "head -c 9999 /dev/zero >made"], source.parent, limits).code != 0
    assert source.with_name("made").stat().st_size == 4096
    slow = jail.run(["sleep", "60"], source.parent, jail.Limits(5, 0.5, 1 << 30))
    assert slow.is_timeout
    much = jail.run(["head", "-c", "50000000", "/dev/zero"], source.parent, limits)
    assert len(much.output) == jail.MOST_OUTPUT_BYTES
