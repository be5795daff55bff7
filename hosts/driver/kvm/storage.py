"""Volumes of directory pools."""

from __future__ import annotations

from collections.abc import Mapping

import libvirt

from hosts.driver import errors
from hosts.driver.kvm import upload
from hosts.driver.kvm.connection import Calls
from hosts.driver.kvm.copy import CopyCalls
from hosts.driver.kvm.download import DownloadCalls
from hosts.driver.types import VolumeFacts
from hosts.driver.xml import parse
from hosts.driver.xml.volume import volume_xml

VOLUME_SECONDS = 30.0  # QEMU's tools are started for qcow2


class StorageCalls(upload.UploadCalls, DownloadCalls, CopyCalls, Calls):
    def list_volumes(self, pool: str) -> list[VolumeFacts]:
        return self._connection.read(lambda connect: _list_volumes(connect.storagePoolLookupByName(pool)))

    def refresh_pool(self, pool: str) -> None:
        def refresh(connect: libvirt.virConnect) -> None:
            upload.refresh_if_idle(connect.storagePoolLookupByName(pool))

        self._connection.call(refresh, seconds=VOLUME_SECONDS)

    def volume(self, pool: str, name: str) -> VolumeFacts | None:
        return self._connection.read(lambda connect: _volume(connect.storagePoolLookupByName(pool), name))

    def ensure_overlay(self, pool: str, name: str, backing: str, capacity_bytes: int) -> VolumeFacts:
        return self._connection.call(
            lambda connect: _ensure_overlay(connect.storagePoolLookupByName(pool), name, backing, capacity_bytes),
            seconds=VOLUME_SECONDS,
        )

    def ensure_volume(self, pool: str, name: str, capacity_bytes: int) -> VolumeFacts:
        return self._connection.call(
            lambda connect: _ensure_volume(connect.storagePoolLookupByName(pool), name, capacity_bytes),
            seconds=VOLUME_SECONDS,
        )

    def grow_volume(self, pool: str, name: str, capacity_bytes: int) -> None:
        def grow(connect: libvirt.virConnect) -> None:
            volume = connect.storagePoolLookupByName(pool).storageVolLookupByName(name)
            if parse.volume(volume.XMLDesc()).capacity_bytes < capacity_bytes:
                volume.resize(capacity_bytes)

        self._connection.call(grow, seconds=VOLUME_SECONDS)

    def delete_volume(self, pool: str, name: str) -> None:
        self._connection.call(
            lambda connect: upload.delete_with_marks(connect.storagePoolLookupByName(pool), name),
            seconds=VOLUME_SECONDS,
        )


def _list_volumes(pool: libvirt.virStoragePool) -> list[VolumeFacts]:
    volumes = upload.named(pool.listAllVolumes())
    return [parse.volume(volume.XMLDesc()) for name, volume in volumes.items() if upload.is_whole(name, volumes)]


def _volume(pool: libvirt.virStoragePool, name: str) -> VolumeFacts | None:
    return _whole(upload.named(pool.listAllVolumes()), name)


def _whole(volumes: Mapping[str, libvirt.virStorageVol], name: str) -> VolumeFacts | None:
    if name not in volumes or not upload.is_whole(name, volumes):
        return None
    return parse.volume(volumes[name].XMLDesc())


def _ensure_volume(pool: libvirt.virStoragePool, name: str, capacity_bytes: int) -> VolumeFacts:
    there = _volume(pool, name)
    if there is not None:
        if there.backing is not None or there.format != "qcow2":
            raise errors.AlreadyExists(f"volume {name} is {there.format} on {there.backing}, not an empty one")
        return there
    return parse.volume(pool.createXML(volume_xml(name, "qcow2", capacity_bytes)).XMLDesc())


def _ensure_overlay(pool: libvirt.virStoragePool, name: str, backing: str, capacity_bytes: int) -> VolumeFacts:
    volumes = upload.named(pool.listAllVolumes())
    there = _whole(volumes, name)
    if there is not None:
        if there.backing != backing:
            raise errors.AlreadyExists(f"volume {name} is an overlay on {there.backing}, not on {backing}")
        return there
    base = _whole(volumes, backing)
    if base is None:
        raise errors.NotFound(f"no volume {backing} in pool {pool.name()}")
    made = pool.createXML(volume_xml(name, "qcow2", capacity_bytes, backing_path=base.path))
    return parse.volume(made.XMLDesc())
