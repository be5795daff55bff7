"""What the golden files show, by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from hosts.driver.types import (
    Accelerator,
    BackupDiskSpec,
    BackupSpec,
    CdromSpec,
    Consistency,
    DiskLimits,
    DiskSpec,
    DomainSpec,
    Firmware,
    NicSpec,
    PoolKind,
    PoolSpec,
    Tuning,
)
from hosts.driver.xml.backup import backup_xml, checkpoint_xml
from hosts.driver.xml.copy import absorber_xml
from hosts.driver.xml.domain import domain_xml
from hosts.driver.xml.layers import Overlay, merger_xml, snapshot_xml
from hosts.driver.xml.network import dhcp_host_xml, network_xml
from hosts.driver.xml.pool import pool_spec_xml, pool_xml
from hosts.driver.xml.volume import volume_xml

GOLDENS = Path(__file__).parents[2] / "data" / "xml"

SMALLEST = DomainSpec(
    uuid=UUID("018f0000-0000-7000-8000-000000000001"),
    name="berth-018f0000-0000-7000-8000-000000000001",
    title="web",
    vcpus=1,
    memory_mib=64,
    accelerator=Accelerator.TCG,
    cpu_model="qemu64",
)
FULL = DomainSpec(
    uuid=UUID("018f0000-0000-7000-8000-000000000002"),
    name="berth-018f0000-0000-7000-8000-000000000002",
    title='</title><devices/> & "quoted" \u0007\n<!-- größer -->',
    vcpus=4,
    memory_mib=2048,
    accelerator=Accelerator.KVM,
    cpu_model="host-model",
    disks=(
        DiskSpec("berth", "root.qcow2", "vda", serial="root", limits=DiskLimits(500, 250, 64 << 20, 32 << 20)),
        DiskSpec("berth", "data.raw", "vdb", format="raw"),
    ),
    cdroms=(CdromSpec("berth", "seed.iso"),),
    nics=(
        NicSpec("berth", "52:54:00:00:00:01", "10.75.0.10"),
        NicSpec("other", "52:54:00:00:00:02"),
    ),
    owner="018f0000-0000-7000-8000-00000000000a",
    attempt=7,
    tuning=Tuning(
        shares=2048,
        period=100_000,
        quota=50_000,
        pins=(4, 5, 7, 6),
        cpus=(0, 1, 2, 3, 9),
        io_weight=800,
        memory_limit_mib=4096,
        is_memory_locked=True,
        has_huge_pages=True,
    ),
)

BURSTABLE = replace(SMALLEST, tuning=Tuning(shares=1024, period=100_000, quota=50_000))
GUARANTEED = replace(SMALLEST, tuning=Tuning(shares=5120, io_weight=1000, memory_limit_mib=1092, is_memory_locked=True))
DEDICATED = replace(SMALLEST, vcpus=2, tuning=Tuning(shares=20480, pins=(6, 7), cpus=(0, 1, 2, 3, 4, 5)))

POOLS = {
    "pool-nfs": PoolSpec("nfs", PoolKind.NETFS, "/srv/berth/nfs", "/export/a & b", ("filer.example.org",)),
    "pool-lvm": PoolSpec("lvm", PoolKind.LOGICAL, "/dev/vg0", "vg0"),
    "pool-rbd": PoolSpec(
        "ceph",
        PoolKind.RBD,
        source="vms",
        hosts=("mon1.example.org", "10.0.0.2:6789"),
        user="berth",
        secret="018f0000-0000-7000-8000-0000000000ff",
    ),
}


INSTALLER = replace(
    SMALLEST,
    firmware=Firmware.UEFI,
    disks=(DiskSpec("berth", "empty.qcow2", "vda"), DiskSpec("berth", "data.qcow2", "vdb")),
    cdroms=(CdromSpec("berth", "seed.iso"), CdromSpec("berth", "image.qcow2", "sdb", format="qcow2", boots=True)),
)

OVERLAYS = [Overlay("vda", "/var/lib/berth/pool/a & b.qcow2", False), Overlay("vdb", "/dev/vg0/data", True)]

BACKUP = BackupSpec(
    pool="backups",
    disks=(BackupDiskSpec("vda", "two.qcow2", parent="one.qcow2"), BackupDiskSpec("vdb", "new.qcow2")),
    checkpoint="two",
    since="one",
)
BACKUP_FILES = {"vda": "/srv/berth & co/two.qcow2", "vdb": "/srv/berth & co/new.qcow2"}

DOCUMENTS = {
    "backup": backup_xml(BACKUP, BACKUP_FILES),
    "checkpoint": checkpoint_xml(BACKUP, Consistency.FROZEN),
    "absorber": absorber_xml(UUID(int=7), "backups", "two.qcow2"),
    "domain-installer": domain_xml(INSTALLER),
    "snapshot-disks": snapshot_xml(OVERLAYS, ["vdc", "sda"], None),
    "snapshot-memory": snapshot_xml(OVERLAYS, [], "/var/lib/berth/pool/now.memory"),
    "merger": merger_xml(UUID("018f0000-0000-7000-8000-0000000000aa"), "berth", "top.qcow2"),
    "domain-smallest": domain_xml(SMALLEST),
    "domain-full": domain_xml(FULL),
    "domain-burstable": domain_xml(BURSTABLE),
    "domain-guaranteed": domain_xml(GUARANTEED),
    "domain-dedicated": domain_xml(DEDICATED),
    "volume-raw": volume_xml("seed.iso", "raw", 374784),
    "volume-overlay": volume_xml("root.qcow2", "qcow2", 1 << 30, backing_path="/srv/berth & co/image.qcow2"),
    "pool": pool_xml("berth", Path("/srv/berth & co")),
    **{name: pool_spec_xml(spec) for name, spec in POOLS.items()},
    "network": network_xml("berth", "10.75.0.0/24"),
    "dhcp-host": dhcp_host_xml("52:54:00:00:00:01", "10.75.0.10"),
    "dhcp-host-to-delete": dhcp_host_xml("52:54:00:00:00:01"),
}
