"""Backing up machines, and what is done with backups."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models import Q

from hosts import placement
from hosts.models import BackupTarget
from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import promises, selectors
from vms.backup_selectors import actions, facts_of
from vms.backup_states import BackupAction
from vms.models import VM, Backup, BackupDisk, BackupKind, BackupState, Layer, Volume
from vms.models.backup import most_mib
from vms.services import guard, pools
from vms.services.create import boot_volume, new_machine
from vms.services.snapshots import keep_as_it_is
from vms.states import Action
from vms.wanted import wanted_of
from vms.workflows.backup import BACK_UP, disks_of
from vms.workflows.backup_files import chain_of
from vms.workflows.drop_backup import DROP_BACKUP
from vms.workflows.restore import RESTORE, RESTORE_AS_NEW
from vms.workflows.verify import VERIFY

LONGEST_CHAIN = 30  # a restore reads all of it, and one damaged file spoils all that stand on it


@transaction.atomic
def back_up(
    *, actor: Actor, vm: VM, target: str | None = None, full: bool = False, field: str | None = "target"
) -> tuple[Backup, Operation]:
    """A copy of all its disks as of one instant on a backup target (by slug; the default one where none is named).

    Of what changed since the last one there, where that can be known, unless `full`. Raises Invalid at `target`,
    Forbidden, Exceeded (quota: what it may take at most is held until it is made), or Conflict.
    """
    guard.require(actor, vm, Action.BACK_UP)
    place = _target(vm, target, field)
    parent, why_full = (None, "") if full else _parent(vm, place)
    volumes = list(vm.volumes.all())
    backup = Backup(
        tenant=vm.tenant,
        vm=vm,
        source_id=vm.pk,
        vm_name=vm.name,
        target=place,
        parent=parent,
        kind=BackupKind.INCREMENTAL if parent else BackupKind.FULL,
        why_full=why_full,
        size_mib=sum(most_mib(volume.size_gib) for volume in volumes),
        image=vm.image,
        flavor=vm.flavor,
        machine=_machine(vm),
        created_by=actor.label,
    )
    quotas.hold(vm.tenant, backup.pk, backup.wanted)
    backup.save(force_insert=True)
    BackupDisk.objects.bulk_create(disks_of(vm, backup, parent))
    operation = operations.submit(
        BACK_UP,
        actor=actor,
        target=vm,
        title=f"Back up {vm.name}",
        params={"backup": str(backup.pk)},
        lane=vm.host_id,
        after={"kind": backup.kind, "target": place.slug},
        holds=[backup],
        shares=[parent] if parent else [],
    )
    return backup, operation


@transaction.atomic
def verify(*, actor: Actor, backup: Backup) -> Operation:
    """Read every file of it and of those it stands on, and compare with what was written."""
    _require(actor, backup, BackupAction.VERIFY)
    return operations.submit(
        VERIFY,
        actor=actor,
        target=backup,
        title=f"Verify the {backup}",
        lane=backup.target_id,
        shares=chain_of(backup)[:-1],
    )


@transaction.atomic
def delete(*, actor: Actor, backup: Backup) -> Operation:
    """For good. Those that stand on it take over what they need of it first."""
    _require(actor, backup, BackupAction.DELETE)
    children = Backup.objects.unscoped("of one in hand").filter(parent=backup)
    heirs = BackupDisk.objects.filter(parent__backup=backup)  # the host's helpers go by their ids
    holds = [*chain_of(backup)[:-1], *children, *heirs]
    title = f"Delete the {backup}"
    return operations.submit(DROP_BACKUP, actor=actor, target=backup, title=title, lane=backup.target_id, holds=holds)


@transaction.atomic
def restore(*, actor: Actor, backup: Backup, safety: bool = False) -> tuple[VM, Operation]:
    """Its machine gets the disks of then. One that runs is powered off meanwhile.

    With `safety` what it is now is kept as a snapshot; without, what was written since is lost. Volumes that it has now
    and had not then, or has no longer, stay as they are. Raises Forbidden, Conflict, with `safety` Exceeded, or
    NoCapacity where the pools have no room for the disks of then beside those of now.
    """
    vm = _its_machine(actor, backup)
    guard.require(actor, vm, Action.RESTORE_BACKUP)  # which locks the machine before its backups, as `back_up` does
    _require(actor, backup, BackupAction.RESTORE)
    if not backup.target.reaches.filter(host=vm.host, is_reached=True).exists():
        raise Conflict("The machine's host does not reach the backup target. Restore it as a new machine.")
    volumes = {volume.pk: volume for volume in vm.volumes.select_related("layer__pool")}
    files = [file for file in backup.disks.all() if file.volume_id in volumes]
    if not files:
        raise Conflict("None of the disks in it is attached to the machine any more. Restore it as a new machine.")
    layers = {str(file.pk): _layer_for(volumes[file.volume_id], file) for file in files}
    pools.require_room_beside(vm, layers.values())
    for layer in layers.values():
        layer.save(force_insert=True)
    params = {"backup": str(backup.pk), "layers": {file: str(layer.pk) for file, layer in layers.items()}}
    if safety:
        replaced = [volumes[file.volume_id] for file in files if file.volume_id]
        params["before"] = str(keep_as_it_is(actor=actor, vm=vm, volumes=replaced, cause="a restore").pk)
    return vm, operations.submit(
        RESTORE,
        actor=actor,
        target=vm,
        title=f"Restore {vm.name} from a backup",
        params=params,
        lane=vm.host_id,
        after={"taken_at": str(backup.taken_at), "safety": safety},
        holds=[*volumes.values(), *layers.values()],
        shares=chain_of(backup),
    )


@transaction.atomic
def restore_as_new(*, actor: Actor, backup: Backup, name: str) -> tuple[VM, Operation]:
    """A new machine with the disks of then and an identity of its own, running, on any host that reaches the target."""
    _require(actor, backup, BackupAction.RESTORE_AS_NEW)
    files = list(backup.disks.all())
    boot = next(file for file in files if file.is_boot)
    room = partial(pools.pool_on, wanted=None, gib=sum(file.size_gib for file in files))
    reaching = backup.target.reaches.filter(is_reached=True).values_list("host_id", flat=True)
    vm = new_machine(
        actor,
        backup.tenant,
        name,
        place=lambda vm: placement.place(
            vm.pk, wanted_of(vm, [], storage=frozenset(reaching)), promises.fits(vm, room)
        ),
        flavor=backup.flavor,
        image=backup.image,
        disk_gib=boot.size_gib,
        **backup.machine,
    )
    volumes = {boot: boot_volume(vm, vm.host.default_pool, None)}
    volumes |= {file: _new_volume(vm, file) for file in files if not file.is_boot}
    layers = {str(file.pk): str(volume.layer_id) for file, volume in volumes.items()}
    operation = operations.submit(
        RESTORE_AS_NEW,
        actor=actor,
        target=vm,
        title=f"Restore {backup.vm_name} as {vm.name}",
        params={"backup": str(backup.pk), "layers": layers},
        lane=vm.host_id,
        after={"backup_of": backup.vm_name, "taken_at": str(backup.taken_at), **vm.wanted},
        holds=[*volumes.values(), *(volume.layer for volume in volumes.values())],
        shares=chain_of(backup),
    )
    log.record("backup.restore-asked", actor=actor, target=backup, operation_id=operation.pk, after={"as": vm.name})
    return vm, operation


def _machine(vm: VM) -> dict[str, object]:
    """What a new machine takes over beside its disks."""
    taken = ("vcpus", "memory_mib", "firmware", "ssh_keys", "user_data")
    return {name: getattr(vm, name) for name in taken}


def _target(vm: VM, slug: str | None, field: str | None) -> BackupTarget:
    rows = BackupTarget.objects.filter(is_active=True)
    found = rows.filter(slug=slug).first() if slug else rows.order_by("-is_default", "slug").first()
    if found is None and slug:
        raise Invalid("There is no such backup target.", code="unknown_reference", field=field)
    if found is None:
        raise Conflict("There is no backup target yet. An administrator adds one.", code="no_backup_target")
    if not found.reaches.filter(host=vm.host, is_reached=True).exists():
        words = f"The machine's host does not reach the backup target {found.name}."
        raise Conflict(words, code="target_unreachable")
    return found


def _parent(vm: VM, target: BackupTarget) -> tuple[Backup | None, str]:
    """The one to stand on; where there is one that cannot be, why not."""
    rows = Backup.objects.unscoped("of a machine in hand").select_related("parent").select_for_update(of=("self",))
    last = rows.filter(source_id=vm.pk, target=target, state=BackupState.READY).first()
    if last is None:
        return None, ""
    if last.damage:
        return None, "Full, because the last one is damaged."
    if not last.counts_changes:
        return None, "Full, because the disk's format does not let changes be counted."
    if len(chain_of(last)) >= LONGEST_CHAIN:
        return None, f"Full, after {LONGEST_CHAIN} that stand on each other."
    if active_on("backup", last.pk):
        return None, "Full, because the last one is in use."
    return last, ""


def _require(actor: Actor, backup: Backup, action: BackupAction) -> None:
    """Brings `backup` up to date, locked with its chain and those that stand on it, and judges it as it is now."""
    actor.require(Permission.VM_WRITE, backup.tenant_id)
    try:
        _lock(backup)
        backup.refresh_from_db(from_queryset=Backup.objects.unscoped("fetched through the gate"))
    except Backup.DoesNotExist:
        raise NotFound("This backup is gone.") from None
    operation = active_on("backup", backup.pk)
    verdict = actions(actor, backup, facts_of(backup, operation))[action]
    if verdict.allowed:
        return
    if operation is not None:
        extra = {"operation": str(operation.pk)}
        raise Conflict(verdict.reason, code="operation_in_progress", extra=extra)
    raise Conflict(verdict.reason, code="backup_damaged" if backup.damage else "wrong_state")


def _lock(backup: Backup) -> None:
    """In one query, in the order of ids, so that no two who ask for something of one chain wait for each other."""
    rows = Backup.objects.unscoped("fetched through the gate")
    chain = [each.pk for each in chain_of(rows.get(pk=backup.pk))]
    wanted = rows.filter(Q(pk__in=chain) | Q(parent=backup)).order_by("pk").select_for_update()
    list(wanted.values_list("pk"))


def _its_machine(actor: Actor, backup: Backup) -> VM:
    if backup.vm_id is None:
        raise Conflict("Its machine is gone. Restore it as a new one.", code="wrong_state")
    return selectors.vm(actor, backup.vm_id, Permission.VM_WRITE)


def _layer_for(volume: Volume, file: BackupDisk) -> Layer:
    """As large as the volume is now: disks never shrink."""
    return Layer(pool=volume.layer.pool, size_gib=max(volume.size_gib, file.size_gib))


def _new_volume(vm: VM, file: BackupDisk) -> Volume:
    layer = Layer.objects.create(pool=vm.host.default_pool, size_gib=file.size_gib)
    volume = Volume(tenant=vm.tenant, vm=vm, layer=layer, name=file.name, target=file.target, size_gib=file.size_gib)
    volume.is_ready = False
    quotas.hold(vm.tenant, volume.pk, volume.wanted)
    placement.place_on(vm.host, volume.pk, volume.wanted)
    volume.save(force_insert=True)
    return volume
