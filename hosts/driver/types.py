"""Arguments and results of the driver: frozen, in plain units, without a libvirt object or XML in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class PowerState(StrEnum):
    """What a hypervisor says about a domain."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"


class Reason(StrEnum):
    """Why a domain is off or paused. UNKNOWN: nobody stopped it; its host, or the daemon there, went down with it.

    OTHER: libvirt knows why, and it is nothing that Berth does.
    """

    NONE = ""
    GUEST = "guest"
    DESTROYED = "destroyed"
    CRASHED = "crashed"
    FAILED = "failed"
    SAVED = "saved"
    MIGRATED = "migrated"
    ASKED = "asked"
    IO_ERROR = "io_error"
    OTHER = "other"
    UNKNOWN = "unknown"


class Accelerator(StrEnum):
    """How a host runs guest code; the value is libvirt's domain type."""

    KVM = "kvm"
    TCG = "qemu"


class Firmware(StrEnum):
    """What a guest starts with."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """The most that a disk may do in a second, in operations and in bytes; None is as much as the host can."""

    read_iops: int | None = None
    write_iops: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None


NO_LIMITS = DiskLimits()


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A volume of a pool, seen by the guest as `target` (vda, vdb, ...). `serial` is at most 20 characters."""

    pool: str
    volume: str
    target: str
    serial: str = ""
    format: str = "qcow2"
    limits: DiskLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class CdromSpec:
    """A read-only volume of a pool as a CD-ROM, e.g. the NoCloud seed. `boots`: tried where no disk can be booted."""

    pool: str
    volume: str
    target: str = "sda"
    format: str = "raw"
    boots: bool = False


@dataclass(frozen=True, slots=True)
class NicSpec:
    """A virtio NIC on a libvirt network, with its MAC address ("52:54:..") and, where known, its one IPv4 address."""

    network: str
    mac: str
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Tuning:
    """What of a host's CPUs, memory and disks a domain gets beside others; by default nothing is said of it.

    `shares` and `io_weight` are weights against the other domains, in the host's own scale (see Controls). Each vCPU
    runs for at most `quota` of each `period`, both in microseconds. `pins` has the host CPU of each vCPU, `cpus` those
    that everything else of it runs on; empty: any. `memory_limit_mib` is of its whole process, QEMU's own included.
    """

    shares: int | None = None
    period: int | None = None
    quota: int | None = None
    pins: tuple[int, ...] = ()
    cpus: tuple[int, ...] = ()
    io_weight: int | None = None
    memory_limit_mib: int | None = None
    is_memory_locked: bool = False
    has_huge_pages: bool = False


UNTUNED = Tuning()


@dataclass(frozen=True, slots=True)
class Controls:
    """What a host can hold guests to: the weights that a domain has there by itself, 0 where it has no weights at all;
    whether a vCPU can be held to a quota, and whether memory can be locked."""

    cpu_weight: int = 0
    io_weight: int = 0
    has_cpu_quota: bool = False
    can_lock_memory: bool = False


NO_CONTROLS = Controls()


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """All that a domain is. Policy has been applied before; nothing is chosen below this line.

    `uuid` is the VM's id; `name` starts with "berth-". `attempt` is the fencing token written into the metadata.
    """

    uuid: UUID
    name: str
    title: str
    vcpus: int
    memory_mib: int
    accelerator: Accelerator
    cpu_model: str
    machine: str = "q35"
    firmware: Firmware = Firmware.BIOS
    disks: tuple[DiskSpec, ...] = ()
    cdroms: tuple[CdromSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    owner: str = ""
    attempt: int = 0
    tuning: Tuning = UNTUNED


@dataclass(frozen=True, slots=True)
class DomainState:
    """How a domain is. `is_whole` is False while post-copy still owes it some of its memory; a list does not tell."""

    uuid: UUID
    name: str
    power: PowerState
    persistent: bool = True
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """A change told by the hypervisor. `power` is None when the domain is gone (undefined)."""

    uuid: UUID
    name: str
    power: PowerState | None
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class AcceleratorVerdict:
    """Whether a trivial guest booted with this accelerator, and how long it took. `detail` says why not.

    `controls` are what the host said it could hold that guest to, `clock_offset` by how many seconds its clock is ahead
    of ours, as far as the writing of the guest's disk shows; None where it does not.
    """

    accelerator: Accelerator
    usable: bool
    seconds: float
    detail: str
    controls: Controls = NO_CONTROLS
    clock_offset: float | None = None


class PoolKind(StrEnum):
    """What a pool is made of; the value is libvirt's type."""

    DIR = "dir"
    NETFS = "netfs"
    LOGICAL = "logical"
    RBD = "rbd"


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A pool as it is to be. `path` is where it is seen on the host: a directory, or /dev/NAME of a volume group.

    What it stands on: NETFS the export `source` of the one host in `hosts`; LOGICAL the volume group `source`; RBD
    the Ceph pool `source` at the monitors `hosts` ("name" or "name:port"), as `user` by the libvirt secret `secret`.
    """

    name: str
    kind: PoolKind = PoolKind.DIR
    path: str = ""
    source: str = ""
    hosts: tuple[str, ...] = ()
    user: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A storage pool; sizes in bytes."""

    name: str
    path: str
    active: bool
    capacity_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host is. Versions as "9.0.0". `huge_pages_mib`: memory that is set aside in pages of 2 MiB.

    `uuid` is what libvirt knows the host by, "" where it tells none: two URIs may lead to one host.

    `cpu_models` are by accelerator the processors that guests can be shown, by libvirt's names and in its order.
    """

    hostname: str
    cpu_model: str
    cpus: int
    memory_mib: int
    libvirt_version: str
    qemu_version: str
    accelerators: tuple[Accelerator, ...]
    firmwares: tuple[Firmware, ...]
    pools: tuple[PoolFacts, ...] = field(default_factory=tuple)
    huge_pages_mib: int = 0
    cpu_models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """A volume of a pool; sizes in bytes. `backing` is the name of the backing volume in the same pool, if any."""

    name: str
    path: str
    format: str
    capacity_bytes: int
    allocation_bytes: int
    backing: str | None = None


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """How far a copy of a volume is, in bytes of the disk that a guest sees. Complete, it is a volume.

    The total is what is to be copied, without holes; the size of the disk, until that is known and at the end.
    `has_begun`: by this very call, so one that begins again and again can be told.
    """

    done_bytes: int
    total_bytes: int
    is_complete: bool
    has_begun: bool = False


class Convergence(StrEnum):
    """What is done for a guest that writes to its memory faster than that can be sent.

    AUTO_CONVERGE: it is slowed down, more and more. POST_COPY: it goes on at the other host before all of its memory is
    there, and fetches what is missing; from then on neither host has it whole, so there is no way back.
    """

    AUTO_CONVERGE = "auto-converge"
    POST_COPY = "post-copy"


@dataclass(frozen=True, slots=True)
class Journey:
    """How a domain gets to another host: `uri` is that host's libvirtd as the one that it leaves reaches it.

    `copied` are the targets of disks whose data goes along, into volumes that are there; the others both hosts see.
    `mib_per_second` is the most that is sent, 0 for all that the network lets through. `is_off`: it is loaded for the
    journey without being let run.
    """

    uri: str
    copied: tuple[str, ...] = ()
    mib_per_second: int = 0
    convergence: Convergence = Convergence.AUTO_CONVERGE
    is_off: bool = False


@dataclass(frozen=True, slots=True)
class MigrationFacts:
    """How far a migration is, in bytes of memory and disks; the total grows with what the guest writes meanwhile.

    Complete, nothing is under way any more. Whether the domain has arrived the other host tells; `error` says why not,
    where that is known. `has_begun`: by this very call.
    """

    done_bytes: int
    total_bytes: int
    is_complete: bool
    has_begun: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the migration that brought a domain has cost: for how long the guest stood still, how long all of it took,
    and how many bytes were sent."""

    downtime_ms: int
    total_ms: int
    sent_bytes: int


class Consistency(StrEnum):
    """What a backup has caught. FROZEN: the guest's agent had flushed and frozen its file systems; OFF: it was off.

    CRASH: as after a power cut, because no agent answered.
    """

    FROZEN = "frozen"
    CRASH = "crash"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class BackupDiskSpec:
    """A disk of the domain (`target`) and the volume that gets its data; on top of the volume `parent` where only what
    changed is to be read, "" where all of it is."""

    target: str
    name: str
    parent: str = ""


@dataclass(frozen=True, slots=True)
class BackupSpec:
    """A backup of a domain into volumes of `pool`.

    `checkpoint` is the name of the new one, from which changes are counted; `since` that of the one that the changes of
    disks with a `parent` are counted from. Checkpoints that are neither `checkpoint` nor in `keep` are removed in the
    end. `is_off`: the domain was off, so a paused one is this backup's own.
    """

    pool: str
    disks: tuple[BackupDiskSpec, ...]
    checkpoint: str
    since: str = ""
    keep: tuple[str, ...] = ()
    is_off: bool = False


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """How far a backup is: bytes of guest disks read, of those to be read. `counts_changes`: the next may be of changes
    alone. `has_begun`: by this very call. Complete, its volumes are there; how much was read is told once then."""

    done_bytes: int
    total_bytes: int
    is_complete: bool
    consistency: Consistency
    counts_changes: bool = True
    has_begun: bool = False


@dataclass(frozen=True, slots=True)
class FreshLayer:
    """The overlay on what a disk of a running domain writes to now, prepared for it to write to from now on."""

    target: str
    pool: str
    volume: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Two volumes of a pool that become one: `layer`, which nobody needs for itself, and `child`, alone in standing on
    it. `heirs` stand on the child.

    `domain` and its disk `target` are what runs on them, if anything does; `is_to_run` says whether that guest is
    running at the end. `keep` is the one of both that must remain, None where either may.
    """

    pool: str
    layer: str
    child: str
    domain: UUID
    target: str
    heirs: tuple[str, ...] = ()
    is_to_run: bool = False
    keep: str | None = None


@dataclass(frozen=True, slots=True)
class MergeFacts:
    """How far a merge is, in bytes. `kept` is the one volume that remains, None until then.

    `has_begun`: by this very call. `is_ready`: only the switch of the guest to the other file is left.
    """

    done_bytes: int
    total_bytes: int
    kept: str | None = None
    has_begun: bool = False
    is_ready: bool = False

    @property
    def is_complete(self) -> bool:
        return self.kept is not None


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """A disk or CD-ROM of a real definition. `pool` is "" where the source is no volume of a pool; `volume` then is
    its path, or "" for an empty drive."""

    target: str
    pool: str
    volume: str


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What a host has on a domain: its state, and its definition as the next start takes it.

    `owner` is our mark in its metadata, None where there is none. `vcpus` and `memory_mib` are what it starts with, the
    `_max` ones what it may grow to without a restart. `outline` is the rest of it in words (hosts.driver.xml.outline);
    `running_outline` that of the guest which runs now, None where none does. `macs` are of its interfaces ("52:54:..").
    """

    uuid: UUID
    name: str
    power: PowerState
    owner: str | None
    vcpus: int
    vcpus_max: int
    memory_mib: int
    memory_max_mib: int
    disks: tuple[DiskFacts, ...] = ()
    outline: frozenset[str] = frozenset()
    running_outline: frozenset[str] | None = None
    reason: Reason = Reason.NONE
    macs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PoolContents:
    """All whole volumes of a pool; `unfinished` has the names of those whose upload or copy has not ended."""

    volumes: tuple[VolumeFacts, ...]
    unfinished: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """All domains of a host, what is in the pools asked for, and the static hosts (address by MAC) of one network.

    A pool is None where it is missing or off, and so is `dhcp_hosts` where the network is.
    """

    domains: tuple[DomainFacts, ...]
    pools: Mapping[str, PoolContents | None]
    dhcp_hosts: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Lease:
    """A DHCP lease a guest really took."""

    mac: str
    ip: str
    hostname: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class DomainStats:
    """Counters of a guest since it was started: nanoseconds, bytes, requests. `memory_mib` is what it takes now.

    `cpu_ns` is the time its vCPUs ran, `wait_ns` the time they were ready to run and the host ran something else.
    """

    uuid: UUID
    vcpus: int
    cpu_ns: int
    wait_ns: int
    memory_mib: int
    read_bytes: int
    written_bytes: int
    read_requests: int
    write_requests: int
    received_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class HostStats:
    """Counters of a host since its start: CPU time that was used, summed over its CPUs, and the memory in use now;
    and those of all guests that are on."""

    cpu_ns: int
    memory_mib: int
    domains: tuple[DomainStats, ...] = ()
