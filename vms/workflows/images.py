"""Bringing an image's file to a host on first use, and seeing that it is what it was."""

from __future__ import annotations

import hashlib

from hosts.driver.base import Driver
from hosts.models import StoragePool
from portal.operations.workflow import StepContext, StepFailed
from vms import copies, image_store
from vms.models import Image, ImageCopy


def bring(context: StepContext, driver: Driver, image: Image, pool: StoragePool) -> None:
    """No effect where it is there and was verified: copies are read-only, and shared by all that stands on them."""
    copy = copies.claim(image, pool)
    is_there = driver.volume(pool.name, image.file_name) is not None
    if is_there and copy.verified_at is not None:
        return
    if not is_there:
        _send(context, driver, image, pool)
    _verify(context, driver, image, copy)


def _send(context: StepContext, driver: Driver, image: Image, pool: StoragePool) -> None:
    source = image_store.path(image)
    if not source.is_file():
        raise StepFailed("image_missing", "The image's file is missing from the image store.")
    total = source.stat().st_size
    report = lambda fraction: context.moved(round(total * fraction), total)  # noqa: E731
    # another create may have brought it meanwhile: its machine stands on that volume
    driver.upload(pool.name, image.file_name, source, "qcow2", report, replace=False)


def _verify(context: StepContext, driver: Driver, image: Image, copy: ImageCopy) -> None:
    """Reads it back. One that was damaged on its way is removed, unless something stands on it already."""
    total, digest = image.size_bytes, hashlib.sha256()
    report = lambda fraction: context.moved(round(total * fraction), total)  # noqa: E731
    driver.download(copy.pool.name, image.file_name, digest.update, report)
    if digest.hexdigest() == image.sha256:
        copies.note_verified(copy)
        return
    context.check()
    if not stands_on(driver, copy):
        driver.delete_volume(copy.pool.name, image.file_name)
    raise StepFailed("image_copy_damaged", "The image did not arrive whole at its host. Try again.")


def stands_on(driver: Driver, copy: ImageCopy) -> bool:
    """Whether anything on the host needs it: a volume above it, or a domain that has it as a disk or CD."""
    host = copy.pool.host
    found = driver.inventory([copy.pool.name], host.network_name)
    contents = found.pools.get(copy.pool.name)
    if contents is None:
        return True  # nobody knows
    backing = {volume.backing for volume in contents.volumes}
    disks = {disk.volume.rpartition("/")[2] for domain in found.domains for disk in domain.disks}
    return copy.file_name in backing | disks
