"""Creating machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from hosts import placement
from hosts.models import Host, StoragePool
from portal.accounts import ssh
from portal.core import text
from portal.core.errors import Conflict, Invalid, NotFound
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import services as quotas
from portal.tenancy import selectors as tenancy
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms import promises, selectors
from vms.addresses import give_address
from vms.models import VM, Flavor, Image, Layer, Volume
from vms.services import leases, pools
from vms.services.groups import groups_named
from vms.wanted import wanted_of
from vms.workflows.create import CREATE

LONGEST_USER_DATA = 64 * 1024
MOST_SSH_KEYS = 20
BOOT_TARGET = "vda"


@dataclass(frozen=True)
class CreateVM:
    """A request as it came: image, flavor and tenant by slug or id; keys as text, or as ids of one's own keys."""

    name: str
    image: str
    flavor: str
    tenant: str | None = None
    ssh_keys: list[str] = field(default_factory=list)
    user_data: str = ""
    network: str | None = None
    storage_class: str | None = None
    protected: bool = False
    groups: list[str] = field(default_factory=list)
    expires_at: datetime | None = None


@transaction.atomic
def create_vm(*, actor: Actor, request: CreateVM) -> tuple[VM, Operation]:
    """Check, claim quota and capacity, write the rows and the operation; a worker does the rest.

    Raises Invalid at the field, Forbidden, Exceeded (quota), NoCapacity, or Conflict (name taken).
    """
    tenant = resolve_tenant(actor, request.tenant, Permission.VM_WRITE)
    image = selectors.image(actor, tenant, request.image, field="image")
    flavor = selectors.flavor(request.flavor, field="flavor")
    _check(request, image, flavor)
    keys = _ssh_keys(actor, request.ssh_keys)
    groups = groups_named(actor, tenant, request.groups)
    storage_class = pools.storage_class(request.storage_class)
    fits = partial(pools.pool_on, wanted=storage_class, gib=flavor.disk_gib)
    storage = pools.hosts_with(storage_class)
    vm = new_machine(
        actor,
        tenant,
        request.name,
        place=lambda vm: placement.place(vm.pk, wanted_of(vm, groups, storage=storage), promises.fits(vm, fits)),
        field="flavor",
        flavor=flavor,
        image=image,
        firmware=image.firmware,
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=flavor.disk_gib,
        is_protected=request.protected,
        expires_at=request.expires_at,
        ssh_keys=keys,
        user_data=request.user_data,
    )
    for group in groups:
        group.members.add(vm)
    boot_volume(vm, fits(vm.host), None if image.is_iso else image)
    _require_still_offered(image)
    choices = {"image": str(image.pk), "flavor": str(flavor.pk)}  # so that a failed one can be tried again
    operation = operations.submit(
        CREATE,
        actor=actor,
        target=vm,
        title=f"Create VM {vm.name}",
        params=choices,
        lane=vm.host_id,
        after={"image": image.name, "flavor": flavor.name, **vm.wanted},
    )
    return vm, operation


def new_machine(
    actor: Actor, tenant: Tenant, name: str, *, place: Callable[[VM], Host], field: str | None = None, **fields: Any
) -> VM:
    """Write a machine with its address, after quota and capacity are claimed for it. Its disks are the caller's.

    `fields` are those of the row, with `expires_at` as it is wanted; `place` claims what it takes of a host. The name's
    uniqueness is the database's to decide.
    """
    fields["expires_at"] = leases.end_for_new(tenant, fields.get("expires_at"))
    now = timezone.now()
    own = {
        "name": text.no_id(text.hostname(name)),
        "observed_since": now,
        "lease_since": now,
        "created_by": actor.label,
    }
    vm = VM(tenant=tenant, **own, **fields)
    quotas.hold(tenant, vm.pk, {"vms": 1, **vm.wanted}, field=field)
    vm.host = place(vm)
    try:
        with transaction.atomic():
            vm.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("A machine of this tenant has this name already.", code="duplicate", field="name") from error
    give_address(vm)
    return vm


def boot_volume(vm: VM, pool: StoragePool, stands_on: Image | None) -> Volume:
    """What it starts from, which its own claims pay for."""
    layer = Layer.objects.create(pool=pool, image=stands_on, size_gib=vm.disk_gib)
    boot = {"name": "boot", "target": BOOT_TARGET, "is_boot": True, "size_gib": vm.disk_gib}
    return Volume.objects.create(tenant=vm.tenant, vm=vm, layer=layer, **boot)


def resolve_tenant(actor: Actor, reference: str | None, permission: Permission) -> Tenant:
    """The tenant named in a body; where none is named, the actor's only one."""
    if reference is None:
        return _only_tenant(actor, permission)
    try:
        return tenancy.tenant(actor, reference, permission)
    except NotFound as error:
        raise Invalid("There is no such tenant.", code="unknown_reference", field="tenant") from error


def _only_tenant(actor: Actor, permission: Permission) -> Tenant:
    if len(actor.memberships) != 1:
        raise Invalid("Say for which tenant.", code="required", field="tenant")
    (tenant_id,) = actor.memberships
    return tenancy.tenant(actor, tenant_id, permission)


def _check(request: CreateVM, image: Image, flavor: Flavor) -> None:
    if flavor.memory_mib < image.min_memory_mib or flavor.disk_gib < image.least_disk_gib:
        raise Invalid(
            f"{image.name} needs at least {image.min_memory_mib} MiB of memory and {image.least_disk_gib} GiB of disk.",
            code="flavor_too_small",
            field="flavor",
        )
    if len(request.user_data.encode()) > LONGEST_USER_DATA:
        raise Invalid("User data may be 64 KiB at most.", code="too_long", field="user_data")
    if "\x00" in request.user_data:
        raise Invalid("User data must be text.", field="user_data")
    if request.network not in (None, "", "default"):
        raise Invalid("There is no such network.", code="unknown_reference", field="network")


def _require_still_offered(image: Image) -> None:
    """It may have been deleted while this was checked. From here on the machine's row keeps it."""
    if not Image.objects.unscoped("in hand").filter(selectors.OFFERED, pk=image.pk).exists():
        raise selectors.unknown("image", field="image")


def _ssh_keys(actor: Actor, given: list[str]) -> list[str]:
    if len(given) > MOST_SSH_KEYS:
        raise Invalid(f"At most {MOST_SSH_KEYS} keys.", code="too_many", field="ssh_keys")
    own = {str(key.pk): key.public_key for key in actor.user.ssh_keys.all()} if actor.user and given else {}
    return [own.get(text) or ssh.parse(text, field="ssh_keys")[0] for text in given]
