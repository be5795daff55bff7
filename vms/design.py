"""Policy: what a machine becomes on a host. Pure; the driver below chooses nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hosts import service_class
from hosts.driver.types import Accelerator, CdromSpec, DiskSpec, DomainSpec, Firmware, NicSpec, Tuning
from hosts.models import Host
from hosts.service_class import Promise, ServiceClass
from vms.models import VM, Layer, Volume

# For clusters without a baseline. Emulation offers no host CPU to pass through; a fixed model is the same everywhere.
_CPU_MODELS = {Accelerator.KVM: "host-model", Accelerator.TCG: "qemu64"}
PERIOD_MICROSECONDS = 100_000  # the kernel's own


def domain_spec(vm: VM, host: Host, attempt: int) -> DomainSpec:
    """The domain of `vm` on `host`. `attempt` is the operation's fencing number."""
    accelerator = Accelerator(host.accelerator)
    return DomainSpec(
        uuid=vm.pk,
        name=vm.domain_name,
        title=vm.name,
        vcpus=vm.vcpus,
        memory_mib=vm.memory_mib,
        accelerator=accelerator,
        cpu_model=host.cluster.cpu_model or _CPU_MODELS[accelerator],
        disks=tuple(disk_spec(volume, volume.layer) for volume in vm.volumes.all()),
        firmware=Firmware(vm.firmware),
        cdroms=_cdroms(vm, host),
        nics=tuple(NicSpec(host.network_name, nic.mac, nic.ip) for nic in vm.nics.all()),
        owner=str(vm.tenant_id),
        attempt=attempt,
        tuning=vm.tuned,
    )


def tuning(promise: Promise, host: Host, pins: Sequence[int] = ()) -> Tuning:
    """How `host` keeps a promise that it can keep. `pins` are the CPUs that a dedicated machine was given there."""
    controls, ceiling = host.controls_known, promise.cpu_ceiling
    is_locked = promise.reserves_memory and controls.can_lock_memory
    return Tuning(
        shares=service_class.shares_on(promise, host),
        period=None if ceiling is None else PERIOD_MICROSECONDS,
        quota=None if ceiling is None else PERIOD_MICROSECONDS * ceiling // service_class.WHOLE,
        pins=tuple(pins),
        cpus=host.shared_cpus,
        io_weight=_io_weight(promise, controls.io_weight),
        memory_limit_mib=promise.memory_mib + max(1024, promise.memory_mib // 8) if is_locked else None,
        is_memory_locked=is_locked,
        has_huge_pages=promise.has_huge_pages,
    )


def _io_weight(promise: Promise, unit: int) -> int | None:
    """Twice that of others, or a fifth. `unit` is what a guest has on the host by itself, 0 where there is no weight.

    libvirt takes 100 to 1000. So where guests have less than 500 by themselves, the others are given that.
    """
    if not unit:
        return None
    others = max(unit, 500)
    if promise.reserves_memory:
        return min(2 * others, 1000)
    if promise.service_class is ServiceClass.BEST_EFFORT:
        return others // 5
    return others if others > unit else None


def _cdroms(vm: VM, host: Host) -> tuple[CdromSpec, ...]:
    """The seed, and the image of a machine that is installed from one. It stays in its drive; the disk boots first."""
    seed = CdromSpec(host.pool_name, vm.seed_volume)
    if not vm.image.is_iso:
        return (seed,)
    return seed, CdromSpec(host.pool_name, vm.image.file_name, target="sdb", format="qcow2", boots=True)


def disk_spec(volume: Volume, layer: Layer) -> DiskSpec:
    """The disk of `volume` with that file, held to the limits of the class that the file lies in."""
    limits = layer.pool.storage_class.limits
    return DiskSpec(layer.pool.name, layer.file_name, volume.target, serial=volume.serial, limits=limits)
