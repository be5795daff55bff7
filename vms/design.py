"""Policy: what a machine becomes on a host. Pure; the driver below chooses nothing."""

from __future__ import annotations

from hosts.driver.types import Accelerator, CdromSpec, DiskSpec, DomainSpec, NicSpec
from hosts.models import Host
from vms.models import VM

# Emulation offers no host CPU to pass through; a fixed model is the same on every host.
_CPU_MODELS = {Accelerator.KVM: "host-model", Accelerator.TCG: "qemu64"}


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
        cpu_model=_CPU_MODELS[accelerator],
        disks=tuple(
            DiskSpec(volume.layer.pool.name, volume.layer.file_name, volume.target, serial=volume.serial)
            for volume in vm.volumes.all()
        ),
        cdroms=(CdromSpec(host.pool_name, vm.seed_volume),),
        nics=tuple(NicSpec(host.network_name, nic.mac, nic.ip) for nic in vm.nics.all()),
        owner=str(vm.tenant_id),
        attempt=attempt,
    )
