"""What can be planned: how each finds what it is about, which use case it is, and what is to be known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portal.core.errors import Invalid
from portal.core.units import THIN_SPACE
from portal.operations.models import Operation
from portal.operations.workflow import workflow_of
from portal.quotas import capacity, consequences, ledger, words
from portal.quotas.services import set_limits
from portal.tenancy import selectors as tenancy
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms import selectors, volume_selectors
from vms.models import VM, Power, Volume
from vms.services.change import resize
from vms.services.clone import clone_vm
from vms.services.create import CreateVM, create_vm, resolve_tenant
from vms.services.delete import delete_vm
from vms.services.migrate import migrate_vm
from vms.services.volume_change import grow
from vms.services.volumes import CreateVolume, create_volume, delete_volume
from vms.workflows.clone import CLONE, LINKED
from vms.workflows.create import CREATE
from vms.workflows.migrate import MIGRATE

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """Whose quota and bill it is about, and which machine or volume, where it is one that is there."""

    tenant: Tenant
    vm: VM | None = None
    volume: Volume | None = None


@dataclass(frozen=True)
class Result:
    """What the use case gave: nothing where it took effect at once."""

    vm: VM | None = None
    operation: Operation | None = None
    volume: Volume | None = None


@dataclass(frozen=True)
class Notes:
    """For people: what they may not expect, and what there is no way back from."""

    warnings: tuple[str, ...] = ()
    irreversible: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """`find` raises NotFound, Forbidden, or Invalid at the field; `act` is the use case, in the caller's transaction;
    `notes` is asked after that, before anything is undone."""

    find: Callable[[Actor, str, Body], Subject]
    act: Callable[[Actor, Subject, Body], Result]
    notes: Callable[[Subject, Result, Body], Notes]


def end_well(result: Result) -> None:
    """The rows become what they are once the operation has succeeded.

    A migration is left out: its rows follow the hosts, and nothing of its tenant's quota or bill changes.
    """
    operation = result.operation
    if operation is None or operation.kind == MIGRATE.kind:
        return
    if operation.kind in (CREATE.kind, CLONE.kind):
        VM.objects.unscoped("a trial").filter(pk=operation.target_id).update(observed_power=Power.RUNNING)
    workflow_of(operation.kind).succeeded(operation, {})


# -- finding -------------------------------------------------------------------------------------------------------


def _tenant_of_new(actor: Actor, target: str, body: Body) -> Subject:
    if target:
        raise Invalid("What is new has no target.", field="target")
    actor.require_somewhere(Permission.VM_WRITE)
    return Subject(resolve_tenant(actor, body.get("tenant"), Permission.VM_WRITE))


def _machine(permission: Permission) -> Callable[[Actor, str, Body], Subject]:
    def find(actor: Actor, target: str, body: Body) -> Subject:
        vm = selectors.vm(actor, _named(target, "the id of a machine"), permission)
        return Subject(vm.tenant, vm)

    return find


def _volume(actor: Actor, target: str, body: Body) -> Subject:
    volume = volume_selectors.volume(actor, _named(target, "the id of a volume"), Permission.VM_WRITE)
    return Subject(volume.tenant, volume=volume)


def _tenant(actor: Actor, target: str, body: Body) -> Subject:
    return Subject(tenancy.tenant(actor, _named(target, "a tenant's slug"), Permission.QUOTA_WRITE))


def _named(target: str, what: str) -> str:
    if not target:
        raise Invalid(f"Name {what}.", code="required", field="target")
    return target


# -- acting --------------------------------------------------------------------------------------------------------


def _create(actor: Actor, subject: Subject, body: Body) -> Result:
    request = CreateVM(**{**body, "expires_at": _moment(body.get("expires_at"))})
    return Result(*create_vm(actor=actor, request=request))


def _moment(value: datetime | str | None) -> datetime | None:
    """A body that was kept has its times as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _clone(actor: Actor, subject: Subject, body: Body) -> Result:
    assert subject.vm is not None
    return Result(*clone_vm(actor=actor, vm=subject.vm, **body))


def _on_machine(act: Callable[..., Operation]) -> Callable[[Actor, Subject, Body], Result]:
    def on(actor: Actor, subject: Subject, body: Body) -> Result:
        return Result(subject.vm, act(actor=actor, vm=subject.vm, **body))

    return on


def _create_volume(actor: Actor, subject: Subject, body: Body) -> Result:
    volume, operation = create_volume(actor=actor, request=CreateVolume(**body))
    return Result(operation=operation, volume=volume)


def _on_volume(act: Callable[..., Operation]) -> Callable[[Actor, Subject, Body], Result]:
    def on(actor: Actor, subject: Subject, body: Body) -> Result:
        return Result(operation=act(actor=actor, volume=subject.volume, **body), volume=subject.volume)

    return on


def _set_limits(actor: Actor, subject: Subject, body: Body) -> Result:
    set_limits(actor=actor, tenant=subject.tenant, limits=body)
    return Result()


# -- telling -------------------------------------------------------------------------------------------------------


def _of_create(subject: Subject, result: Result, body: Body) -> Notes:
    assert result.vm is not None
    found = [*_silence(result.vm), *_expiry(result.vm, body)]
    if not body.get("ssh_keys") and not body.get("user_data"):
        found.append("It gets no SSH key and no user data: you may not be able to sign in.")
    return Notes(tuple(found))


def _of_clone(subject: Subject, result: Result, body: Body) -> Notes:
    assert subject.vm is not None
    assert result.vm is not None
    source, found = subject.vm, [*_silence(result.vm), *_expiry(result.vm, body)]
    if source.status != "stopped":
        found.append(f"{source.name} is on: the clone starts from its disks as after a power cut.")
    if body.get("mode") == LINKED:
        found.append(f"What it shares with {source.name} stays on the disk until neither needs it.")
    return Notes(tuple(found))


def _of_resize(subject: Subject, result: Result, body: Body) -> Notes:
    assert result.operation is not None
    assert subject.vm is not None
    params, vm = result.operation.params, subject.vm
    before, after = params["before"]["disk_gib"], params["after"]["disk_gib"]
    promised = params["promised"]["service_class"]
    warnings = list(_silence(vm))
    if promised != vm.service_class:
        warnings.append(f"Its service class changes from {vm.service_class} to {promised}.")
    grown = f"Its disk grows from {before} to {after}{THIN_SPACE}GiB, and cannot shrink again."
    return Notes(tuple(warnings), (grown,) if after > before else ())


def _of_delete(subject: Subject, result: Result, body: Body) -> Notes:
    assert subject.vm is not None
    vm = subject.vm
    warnings = [] if vm.observed_power == Power.STOPPED else ["It is switched off at once, without a shutdown."]
    if volumes := vm.volumes.filter(is_boot=False).count():
        warnings.append(f"Its data volumes ({volumes}) stay: they are detached when it goes for good.")
    lost = f"its disk{' and its snapshots' if vm.snapshots.exists() else ''}"
    if vm.purge_at is None:
        return Notes(tuple(warnings), (f"It is deleted for good, with {lost}.",))
    warnings.append("In the bin it counts towards the quota as before.")
    until = f"{vm.purge_at:%Y-%m-%d %H:%M} UTC"
    return Notes(tuple(warnings), (f"It can be restored until about {until}; then it is gone, with {lost}.",))


def _of_migrate(subject: Subject, result: Result, body: Body) -> Notes:
    assert result.operation is not None
    assert subject.vm is not None
    params = result.operation.params
    found = ["It runs on, with a pause of under a second." if params["is_live"] else "It is off, and stays so."]
    if params["disks"]:
        gib = sum(subject.vm.volumes.filter(pk__in=list(params["disks"])).values_list("size_gib", flat=True))
        found.append(f"Its disks are copied to the other host: up to {gib}{THIN_SPACE}GiB.")
    return Notes(tuple(found))


def _nothing_to_tell(subject: Subject, result: Result, body: Body) -> Notes:
    return Notes()


def _of_grow(subject: Subject, result: Result, body: Body) -> Notes:
    assert subject.volume is not None
    sizes = f"{subject.volume.size_gib} to {body['size_gib']}{THIN_SPACE}GiB"
    return Notes(irreversible=(f"It grows from {sizes}, and cannot shrink again.",))


def _of_volume_delete(subject: Subject, result: Result, body: Body) -> Notes:
    return Notes(irreversible=("It is deleted for good, with its data: volumes have no bin.",))


def _of_limits(subject: Subject, result: Result, body: Body) -> Notes:
    used, limits = ledger.used(subject.tenant.pk), consequences.limits_of_all()
    own, there = limits[subject.tenant.pk], capacity.sellable()
    promised = {name: [each[name] for each in limits.values()] for name in body}
    return Notes((*_below_use(body, own, used), *_over_promised(promised, there)))


def _below_use(body: Body, limits: Mapping[str, int | None], used: Mapping[str, int]) -> Iterable[str]:
    for name in body:
        limit, in_use = limits[name], used.get(name, 0)
        if limit is not None and in_use > limit:
            amounts = f"{words.amount(name, in_use)} are used of {words.amount(name, limit)}"
            yield f"{words.name(name)}: {amounts}. Nothing that is there is harmed; nothing more can be had."


def _over_promised(promised: Mapping[str, list[int | None]], there: Mapping[str, int]) -> Iterable[str]:
    for name, limits in promised.items():
        total = sum(limit or 0 for limit in limits)
        if name in there and None not in limits and total > there[name]:
            amounts = f"{words.amount(name, total)} of {words.amount(name, there[name])}"
            yield f"{words.name(name)}: all tenants together are promised {amounts} that there are."


def _silence(vm: VM) -> Iterable[str]:
    if not vm.host.is_reachable:
        yield "Its host does not answer at present: the work waits for it."


def _expiry(vm: VM, body: Body) -> Iterable[str]:
    if vm.expires_at is not None and not body.get("expires_at"):
        yield f"By the tenant's policy it expires on {vm.expires_at:%Y-%m-%d}."


KINDS: Mapping[str, Kind] = {
    "vm.create": Kind(_tenant_of_new, _create, _of_create),
    "vm.resize": Kind(_machine(Permission.VM_WRITE), _on_machine(resize), _of_resize),
    "vm.clone": Kind(_machine(Permission.VM_WRITE), _clone, _of_clone),
    "vm.delete": Kind(_machine(Permission.VM_WRITE), _on_machine(delete_vm), _of_delete),
    "vm.migrate": Kind(_machine(Permission.HOST_WRITE), _on_machine(migrate_vm), _of_migrate),
    "volume.create": Kind(_tenant_of_new, _create_volume, _nothing_to_tell),
    "volume.grow": Kind(_volume, _on_volume(grow), _of_grow),
    "volume.delete": Kind(_volume, _on_volume(delete_volume), _of_volume_delete),
    "quota.change": Kind(_tenant, _set_limits, _of_limits),
}
