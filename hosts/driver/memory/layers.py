"""Layers: which volume stands on which, and which of them a guest writes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from hosts.driver import errors
from hosts.driver.base import Progress
from hosts.driver.memory.domains import OFF, domain_of, is_on, turn
from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.memory.volumes import volume_in
from hosts.driver.types import FreshLayer, Merge, MergeFacts, PowerState

MIB = 1 << 20


class LayerCalls(Calls):
    def freeze(
        self,
        uuid: UUID,
        layers: Sequence[FreshLayer],
        *,
        quiesce: bool = False,
        memory: str | None = None,
        progress: Progress | None = None,
    ) -> bool:
        with self._call("freeze") as host:
            is_on(host, uuid)
            spec, _ = host.domains[uuid]
            written = {target: disk.volume for target, disk in host.running[uuid].items()}
            done = [written.get(layer.target) == layer.volume for layer in layers]
            if all(done):
                return False
            if any(done) or not all(layer.target in written for layer in layers):
                raise errors.InvalidState(f"domain {uuid} has other disks than those that were to be frozen")
            for layer in layers:
                volume_in(host, layer.pool, layer.volume)
            if memory is not None:
                there = volume_in(host, layers[0].pool, memory)
                size = spec.memory_mib * MIB
                host.volumes[layers[0].pool, memory] = replace(there, capacity_bytes=size, allocation_bytes=size)
                host.memories[layers[0].pool, memory] = spec
            for layer in layers:
                _write_to(host, uuid, layer.target, layer.volume)
            return quiesce and memory is None and uuid in host.agents

    def end_freeze(self, uuid: UUID) -> None:
        with self._call("end_freeze"):
            return  # each call of freeze here is over when it returns

    def restore(self, uuid: UUID, pool: str, memory: str) -> None:
        with self._call("restore") as host:
            spec, power = domain_of(host, uuid)
            if power not in OFF:
                return
            volume_in(host, pool, memory)
            saved = host.memories.get((pool, memory))
            if saved is None or (saved.vcpus, saved.memory_mib) != (spec.vcpus, spec.memory_mib):
                raise errors.Unsupported(f"{memory} is not the memory of such a domain")
            host.running[uuid] = {disk.target: disk for disk in spec.disks}
            turn(host, uuid, PowerState.RUNNING, "started")

    def merge(self, job: UUID, merge: Merge, *, may_switch: bool) -> MergeFacts:
        """The first call begins, the next one finds it done."""
        with self._call("merge") as host:
            kept = _settled(host, merge)
            if kept is None and job not in host.merges:
                host.merges[job] = _kept(host, merge)
                return MergeFacts(0, _size(host, merge), has_begun=True)
            if kept is None and _is_switch(host, merge, host.merges[job]) and not may_switch:
                return MergeFacts(_size(host, merge), _size(host, merge), is_ready=True)
            if kept is None:
                kept = host.merges[job]
                _move(host, merge, kept)
            host.merges.pop(job, None)
            total = volume_in(host, merge.pool, kept).capacity_bytes
            return MergeFacts(total, total, kept)

    def end_merge(self, job: UUID, merge: Merge, *, may_switch: bool) -> str | None:
        with self._call("end_merge") as host:
            host.merges.pop(job, None)
            kept = _settled(host, merge)
            return merge.layer if kept is None and may_switch and _defined(host, merge) == merge.layer else kept


def _write_to(host: MemoryHost, uuid: UUID, target: str, volume: str) -> None:
    """From now on, and by the definition too."""
    spec, power = host.domains[uuid]
    host.running[uuid][target] = replace(host.running[uuid][target], volume=volume)
    disks = tuple(replace(disk, volume=volume) if disk.target == target else disk for disk in spec.disks)
    host.domains[uuid] = (replace(spec, disks=disks), power)


def _settled(host: MemoryHost, merge: Merge) -> str | None:
    there = {name for name in (merge.layer, merge.child) if (merge.pool, name) in host.volumes}
    if len(there) < 2:
        return volume_in(host, merge.pool, next(iter(there), merge.child)).name
    if host.volumes[merge.pool, merge.child].backing != merge.layer:
        return merge.child
    stands = any(host.volumes[merge.pool, heir].backing == merge.layer for heir in _heirs(host, merge))
    return merge.layer if stands or _written(host, merge) == merge.layer else None


def _heirs(host: MemoryHost, merge: Merge) -> list[str]:
    """Those that are there: one may be about to be made."""
    return [heir for heir in merge.heirs if (merge.pool, heir) in host.volumes]


def _written(host: MemoryHost, merge: Merge) -> str | None:
    """What a guest that runs writes to."""
    disk = host.running.get(merge.domain, {}).get(merge.target)
    return disk.volume if disk is not None else None


def _defined(host: MemoryHost, merge: Merge) -> str | None:
    """What a guest that is off would write to."""
    spec, _ = host.domains.get(merge.domain, (None, None))
    return next((disk.volume for disk in spec.disks if disk.target == merge.target), None) if spec else None


def _kept(host: MemoryHost, merge: Merge) -> str:
    written = _written(host, merge)
    must_pull = len(merge.heirs) > 1
    if must_pull and (merge.keep == merge.layer or written not in (None, merge.child)):
        raise errors.CannotMerge(f"{merge.layer} cannot be merged with {merge.child} as things are")
    return merge.keep or (merge.child if must_pull else merge.layer)


def _is_switch(host: MemoryHost, merge: Merge, kept: str) -> bool:
    return kept == merge.layer and not _heirs(host, merge)


def _move(host: MemoryHost, merge: Merge, kept: str) -> None:
    child, layer = volume_in(host, merge.pool, merge.child), volume_in(host, merge.pool, merge.layer)
    if kept == merge.child:
        host.volumes[merge.pool, merge.child] = replace(child, backing=layer.backing)
        return
    capacity = max(child.capacity_bytes, layer.capacity_bytes)
    host.volumes[merge.pool, merge.layer] = replace(layer, capacity_bytes=capacity)
    for heir in _heirs(host, merge):
        there = volume_in(host, merge.pool, heir)
        host.volumes[merge.pool, heir] = replace(there, backing=merge.layer)
    if _written(host, merge) == merge.child:
        _write_to(host, merge.domain, merge.target, merge.layer)


def _size(host: MemoryHost, merge: Merge) -> int:
    return volume_in(host, merge.pool, merge.child).capacity_bytes
