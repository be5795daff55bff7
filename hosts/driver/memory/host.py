"""The host and its pools."""

from __future__ import annotations

from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from hosts.driver import errors
from hosts.driver.memory.state import Calls
from hosts.driver.memory.volumes import pool_exists
from hosts.driver.types import (
    Accelerator,
    AcceleratorVerdict,
    Controls,
    Firmware,
    HostFacts,
    PoolFacts,
    PoolKind,
    PoolSpec,
)

POOL_BYTES = 1 << 40
CONTROLS = Controls(cpu_weight=1024, io_weight=500, has_cpu_quota=True, can_lock_memory=True)


class HostCalls(Calls):
    def facts(self) -> HostFacts:
        with self._call("facts") as host:
            return HostFacts(
                uuid=str(uuid5(NAMESPACE_URL, self.uri)),
                hostname=self.uri.partition("://")[2],
                cpu_model="Memory",
                cpus=8,
                memory_mib=32768,
                libvirt_version="0.0.0",
                qemu_version="0.0.0",
                accelerators=(Accelerator.TCG,),
                firmwares=tuple(Firmware),
                cpu_models={Accelerator.TCG: ("Nehalem", "qemu64")},
                pools=tuple(_pool_facts(name, path) for name, path in host.pools.items()),
            )

    def probe_accelerator(self, accelerator: Accelerator, pool: str, deadline: float) -> AcceleratorVerdict:
        with self._call("probe_accelerator") as host:
            pool_exists(host, pool)
            if accelerator is Accelerator.TCG:
                return AcceleratorVerdict(accelerator, True, 0.0, "", CONTROLS, 0.0)
            return AcceleratorVerdict(accelerator, False, 0.0, "the guest did not start: no such accelerator")

    def ensure_pool(self, name: str, path: Path) -> PoolFacts:
        with self._call("ensure_pool") as host:
            there = host.pools.setdefault(name, path)
            if there != path:
                raise errors.AlreadyExists(f"pool {name} lies at {there}, not at {path}")
            return _pool_facts(name, path)

    def define_pool(self, spec: PoolSpec) -> PoolFacts:
        """Of directories: nothing else can be had in memory."""
        if spec.kind is not PoolKind.DIR:
            with self._call("define_pool"):
                raise errors.Unsupported(f"no pools of the kind {spec.kind}")
        return self.ensure_pool(spec.name, Path(spec.path))

    def delete_pool(self, name: str) -> None:
        with self._call("delete_pool") as host:
            host.pools.pop(name, None)


def _pool_facts(name: str, path: Path) -> PoolFacts:
    return PoolFacts(name, str(path), True, POOL_BYTES, POOL_BYTES)
