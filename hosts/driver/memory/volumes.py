"""Volumes: names and sizes, no bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from hosts.driver import errors
from hosts.driver.base import Progress, Take
from hosts.driver.memory.state import Calls, MemoryHost
from hosts.driver.types import CopyFacts, VolumeFacts

CHUNK_BYTES = 1 << 20
QCOW2_MAGIC = b"QFI\xfb"


class VolumeCalls(Calls):
    def list_volumes(self, pool: str) -> list[VolumeFacts]:
        with self._call("list_volumes") as host:
            pool_exists(host, pool)
            return [volume for (place, _), volume in host.volumes.items() if place == pool]

    def refresh_pool(self, pool: str) -> None:
        with self._call("refresh_pool") as host:
            pool_exists(host, pool)

    def volume(self, pool: str, name: str) -> VolumeFacts | None:
        with self._call("volume") as host:
            pool_exists(host, pool)
            return host.volumes.get((pool, name))

    def ensure_overlay(self, pool: str, name: str, backing: str, capacity_bytes: int) -> VolumeFacts:
        with self._call("ensure_overlay") as host:
            pool_exists(host, pool)
            there = host.volumes.get((pool, name))
            if there is None:
                volume_in(host, pool, backing)
                made = VolumeFacts(name, str(host.pools[pool] / name), "qcow2", capacity_bytes, 0, backing)
                return host.volumes.setdefault((pool, name), made)
            if there.backing != backing:
                raise errors.AlreadyExists(f"volume {name} is an overlay on {there.backing}, not on {backing}")
            return there

    def ensure_volume(self, pool: str, name: str, capacity_bytes: int) -> VolumeFacts:
        with self._call("ensure_volume") as host:
            pool_exists(host, pool)
            made = VolumeFacts(name, str(host.pools[pool] / name), "qcow2", capacity_bytes, 0)
            there = host.volumes.setdefault((pool, name), made)
            if there.backing is not None or there.format != "qcow2":
                raise errors.AlreadyExists(f"volume {name} is {there.format} on {there.backing}, not an empty one")
            return there

    def upload(
        self,
        pool: str,
        name: str,
        source: Path | bytes,
        fmt: str,
        progress: Progress | None = None,
        *,
        replace: bool = True,
    ) -> VolumeFacts:
        with self._call("upload") as host:
            pool_exists(host, pool)
            if not replace and (pool, name) in host.volumes:
                raise errors.Busy(f"somebody else has just uploaded {name}")
            host.volumes.pop((pool, name), None)
            host.unfinished.add((pool, name))
        try:
            made = _received(host.pools[pool] / name, source, fmt, progress)
            with host.lock:
                host.volumes[pool, name], host.contents[pool, name] = made, source
        finally:
            host.unfinished.discard((pool, name))
        return made

    def download(self, pool: str, name: str, take: Take, progress: Progress | None = None) -> int:
        """Of what was uploaded its bytes, as long as the file is there; of everything else an empty qcow2's header."""
        with self._call("download") as host:
            source = host.contents.get((pool, name), header(volume_in(host, pool, name).capacity_bytes))
        data = source if isinstance(source, bytes) else source.read_bytes()
        for start in range(0, len(data), CHUNK_BYTES):
            take(data[start : start + CHUNK_BYTES])
            if progress is not None:
                progress(min(start + CHUNK_BYTES, len(data)) / len(data))
        return len(data)

    def copy_volume(
        self, job: UUID, attempt: int, pool: str, source: str, name: str, *, into: str | None = None
    ) -> CopyFacts:
        """The first call begins, and the next one finds it complete."""
        with self._call("copy_volume") as host:
            pool_exists(host, into or pool)
            there, key = volume_in(host, pool, source), (into or pool, name)
            total = there.capacity_bytes
            if job not in host.copies and key not in host.volumes:
                host.copies[job] = key
                host.unfinished.add(key)
                return CopyFacts(0, total, False, has_begun=True)
            if host.copies.pop(job, None):
                host.unfinished.discard(key)
                path = str(host.pools[key[0]] / name)
                host.volumes[key] = VolumeFacts(name, path, "qcow2", total, there.allocation_bytes)
                host.contents[key] = header(total)
            made = host.volumes[key]
            if (made.format, made.backing) != ("qcow2", None) or made.capacity_bytes < total:
                raise errors.AlreadyExists(f"volume {name} is there, and no copy of {source}")
            return CopyFacts(total, total, True)

    def end_copy(self, job: UUID) -> None:
        with self._call("end_copy") as host:
            host.copies.pop(job, None)
            host.domains.pop(job, None)

    def grow_volume(self, pool: str, name: str, capacity_bytes: int) -> None:
        with self._call("grow_volume") as host:
            there = volume_in(host, pool, name)
            larger = max(there.capacity_bytes, capacity_bytes)
            host.volumes[pool, name] = replace(there, capacity_bytes=larger)

    def delete_volume(self, pool: str, name: str) -> None:
        with self._call("delete_volume") as host:
            pool_exists(host, pool)
            host.unfinished.discard((pool, name))
            host.volumes.pop((pool, name), None)
            host.contents.pop((pool, name), None)


def pool_exists(host: MemoryHost, pool: str) -> None:
    if pool not in host.pools:
        raise errors.NotFound(f"no pool {pool}")


def volume_in(host: MemoryHost, pool: str, name: str) -> VolumeFacts:
    if (pool, name) not in host.volumes:
        raise errors.NotFound(f"no volume {name} in pool {pool}")
    return host.volumes[pool, name]


def header(capacity_bytes: int) -> bytes:
    """As much of a qcow2 file as tells its size (QEMU's docs/interop/qcow2.txt)."""
    return (QCOW2_MAGIC + (3).to_bytes(4)).ljust(24, b"\0") + capacity_bytes.to_bytes(8)


def _received(path: Path, source: Path | bytes, fmt: str, progress: Progress | None) -> VolumeFacts:
    """The volume an upload makes."""
    head, size = _head_and_size(source)
    if (head[:4] == QCOW2_MAGIC) != (fmt == "qcow2"):
        raise errors.Invalid(f"{path.name} is not a whole {fmt}")
    for sent in range(CHUNK_BYTES, size + CHUNK_BYTES, CHUNK_BYTES):
        if progress is not None:
            progress(min(sent, size) / size)
    capacity = int.from_bytes(head[24:32]) if fmt == "qcow2" else size  # of the qcow2 header, in the format's order
    return VolumeFacts(path.name, str(path), fmt, capacity, size)


def _head_and_size(source: Path | bytes) -> tuple[bytes, int]:
    if isinstance(source, bytes):
        return source[:32], len(source)
    with source.open("rb") as file:
        return file.read(32), source.stat().st_size
