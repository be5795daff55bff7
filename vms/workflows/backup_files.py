"""What steps on the files of backups share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

from django.utils import timezone

from hosts.connections import fenced_driver
from hosts.driver import errors
from hosts.driver.base import Driver
from hosts.models import BackupTarget, Host
from hosts.workflows.tokens import text_in
from portal.operations.workflow import StepContext, StepFailed
from vms.models import Backup, BackupDisk


def backup_of(id: UUID | str) -> Backup:
    return Backup.objects.unscoped("workflow").select_related("target", "parent").get(pk=id)


def chain_of(backup: Backup) -> list[Backup]:
    """All that it stands on, the full one first, and itself last."""
    chain = [backup]
    while chain[-1].parent_id is not None:
        chain.append(backup_of(chain[-1].parent_id))
    return chain[::-1]


def files_of(backup: Backup) -> list[BackupDisk]:
    """Every file that a restore of it reads, each below those that stand on it."""
    return [file for disk in backup.disks.all() for file in _down(disk)][::-1]


def _down(disk: BackupDisk) -> Iterator[BackupDisk]:
    found: BackupDisk | None = disk
    while found is not None:
        yield found
        found = BackupDisk.objects.filter(pk=found.parent_id).first() if found.parent_id else None


def reaching_host(target: BackupTarget) -> Host:
    """A host that reaches the target, one that answers where there is one."""
    hosts = [reach.host for reach in target.reaches.filter(is_reached=True).select_related("host")]
    if not hosts:
        raise _unreachable(f"No host reaches the backup target {target.name}.")
    return min(hosts, key=lambda host: not host.is_reachable)


def target_driver(context: StepContext, target: BackupTarget, host: Host) -> Driver:
    """The host's driver, with the target's pool there.

    StepFailed where the target's own token is not: in the empty directory of a mount that is away every backup would
    look as if it were deleted.
    """
    driver = fenced_driver(host, context.check)
    driver.ensure_pool(target.pool_name, Path(target.path))
    _require_mounted(driver, target)
    return driver


def _require_mounted(driver: Driver, target: BackupTarget) -> None:
    if text_in(driver, target.pool_name, target.marker) != target.token:
        raise _unreachable(f"The backup target {target.name} is not mounted on its host.")


def _unreachable(words: str) -> StepFailed:
    advice = "Its files stay as they are. Ask an administrator to mount and check it, then try again."
    return StepFailed("target_unreachable", f"{words} {advice}")


def measure(context: StepContext, driver: Driver, pool: str, names: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Bytes and SHA-256 of each file, read from end to end. NotFound where one is missing."""
    total = sum(volume.allocation_bytes for name in names if (volume := driver.volume(pool, name)))
    sums, before = {}, 0
    for name in names:
        reading = _Reading(context, before, total)
        size = driver.download(pool, name, reading.take)
        sums[name] = (size, reading.sha256.hexdigest())
        before += size
    return sums


class _Reading:
    """One file among several of `total` bytes, of which `before` have been read."""

    def __init__(self, context: StepContext, before: int, total: int) -> None:
        self._context, self._read, self._total = context, before, total
        self.sha256 = hashlib.sha256()

    def take(self, chunk: bytes) -> None:
        self.sha256.update(chunk)
        self._read += len(chunk)
        self._context.moved(min(self._read, self._total), self._total)


def check_files(context: StepContext, driver: Driver, backup: Backup) -> None:
    """Whether all that a restore of it reads is what was written; what is found is noted at each backup concerned.

    StepFailed "backup_damaged" with words for its owner.
    """
    files = files_of(backup)
    for index, file in enumerate(files):
        told = _damage(context, driver, backup.target.pool_name, file, (index, len(files)))
        if told:
            _require_mounted(driver, backup.target)  # it may have gone away in the middle
            _note_damage(file.backup_id, told)
            raise StepFailed("backup_damaged", f"The backup is damaged: {told}")
    ids = {file.backup_id for file in files}
    Backup.objects.unscoped("workflow").filter(pk__in=ids).update(verified_at=timezone.now(), damage="")


def _damage(context: StepContext, driver: Driver, pool: str, file: BackupDisk, place: tuple[int, int]) -> str:
    index, count = place
    words = f"file {index + 1} of {count}, of disk {file.target}, made {file.created_at:%Y-%m-%d %H:%M} UTC,"
    try:
        size, sha256 = measure(context, driver, pool, [file.file_name])[file.file_name]
    except errors.NotFound:
        return f"{words} is missing."
    backing = driver.volume(pool, file.file_name)
    parent = file.parent.file_name if file.parent else None
    if size != file.size_bytes or sha256 != file.sha256:
        return f"{words} is not what was written."
    return "" if backing and backing.backing == parent else f"{words} does not stand on the one before it."


def _note_damage(backup_id: UUID, words: str) -> None:
    """At the one that has the file, and at all that stand on it."""
    rows, ids = Backup.objects.unscoped("workflow"), [backup_id]
    while ids:
        rows.filter(pk__in=ids).update(verified_at=timezone.now(), damage=words[:300])
        ids = list(rows.filter(parent_id__in=ids).values_list("pk", flat=True))


def delete_files(driver: Driver, target: BackupTarget, files: Iterable[BackupDisk]) -> None:
    for file in files:
        driver.delete_volume(target.pool_name, file.file_name)
