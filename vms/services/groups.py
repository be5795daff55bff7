"""Affinity groups: machines that their tenant keeps apart, or together."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from portal.core import text
from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.tenancy import gate
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms import moves
from vms.models import VM, AffinityGroup, GroupPolicy
from vms.services import guard
from vms.wanted import lock_groups

MOST_GROUPS = 100
MOST_OF_A_MACHINE = 10


@transaction.atomic
def create_group(*, actor: Actor, tenant: Tenant, name: str, policy: str) -> AffinityGroup:
    """Without machines yet. Raises Invalid at the field, or Conflict where the name is taken."""
    actor.require(Permission.VM_WRITE, tenant.pk)
    if policy not in GroupPolicy.values:
        raise Invalid(f"Use one of: {', '.join(GroupPolicy.values)}.", field="policy")
    if AffinityGroup.objects.unscoped("count").filter(tenant=tenant).count() >= MOST_GROUPS:
        raise Conflict(f"A tenant has {MOST_GROUPS} groups at most.", code="too_many")
    group = AffinityGroup(tenant=tenant, name=text.no_id(text.hostname(name)), policy=policy)
    try:
        with transaction.atomic():
            group.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("There is a group of this name already.", code="duplicate", field="name") from error
    log.record("group.created", actor=actor, target=group, after={"policy": policy})
    return group


@transaction.atomic
def delete_group(*, actor: Actor, group: AffinityGroup) -> None:
    """Its machines stay where they are, and are bound no more."""
    actor.require(Permission.VM_WRITE, group.tenant_id)
    log.record("group.deleted", actor=actor, target=group, before={"policy": group.policy})
    group.delete()


@transaction.atomic
def add_member(*, actor: Actor, group: AffinityGroup, vm: VM) -> None:
    """A machine that is there already, where it is. Raises Conflict where that is not what the group says."""
    actor.require(Permission.VM_WRITE, group.tenant_id)
    if vm.tenant_id != group.tenant_id:
        raise Invalid("There is no such machine.", code="unknown_reference", field="vm")
    guard.refresh(vm)  # no move of it begins; before its groups, as whoever moves it does
    lock_groups([group])
    if AffinityGroup.objects.unscoped("count").filter(members=vm).count() >= MOST_OF_A_MACHINE:
        raise Conflict(f"A machine is in {MOST_OF_A_MACHINE} groups at most.", code="too_many", field="vm")
    _require_place(group, vm)
    if not group.members.filter(pk=vm.pk).exists():
        group.members.add(vm)
        log.record("group.joined", actor=actor, target=group, after={"machine": vm.name})


def _require_place(group: AffinityGroup, vm: VM) -> None:
    """Whatever is on its way is on both hosts. Raises Conflict."""
    rows = VM.objects.unscoped("of one tenant")
    arriving = moves.destinations(rows.filter(Q(groups=group) | Q(pk=vm.pk)))

    def hosts(each: VM) -> set[UUID]:
        return {each.host_id, arriving[each.pk].pk} if each.pk in arriving else {each.host_id}

    for other in rows.filter(groups=group).exclude(pk=vm.pk).order_by("created_at"):
        if group.policy == GroupPolicy.APART and hosts(vm) & hosts(other):
            words = f"It is on the same host as {other.name}. Ask an administrator to move one of them first."
        elif group.policy == GroupPolicy.TOGETHER and len(hosts(vm) | hosts(other)) > 1:
            words = f"It is on another host than {other.name}. Ask an administrator to move one of them first."
        else:
            continue
        if {vm.pk, other.pk} & arriving.keys():
            words = f"It or {other.name} is on its way to another host. Try again when it has arrived."
        raise Conflict(words, code="group_conflict", field="vm")


@transaction.atomic
def remove_member(*, actor: Actor, group: AffinityGroup, vm: VM) -> None:
    actor.require(Permission.VM_WRITE, group.tenant_id)
    if group.members.filter(pk=vm.pk).exists():
        group.members.remove(vm)
        log.record("group.left", actor=actor, target=group, before={"machine": vm.name})


def groups_named(actor: Actor, tenant: Tenant, references: Sequence[str]) -> list[AffinityGroup]:
    """The tenant's, by name or id. Raises Invalid at `groups`."""
    if len(references) > MOST_OF_A_MACHINE:
        raise Invalid(f"At most {MOST_OF_A_MACHINE} groups.", code="too_many", field="groups")
    rows = AffinityGroup.objects.for_actor(actor).filter(tenant=tenant)
    found = {}
    for reference in references:
        group = rows.filter(name=reference).first()
        if group is None:
            try:
                group = rows.filter(pk=gate.parse_id(reference)).first()
            except NotFound:
                group = None
        if group is None:
            raise Invalid("There is no such group.", code="unknown_reference", field="groups")
        found[group.pk] = group
    return list(found.values())
