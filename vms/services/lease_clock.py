"""What becomes of leases by the clock: warn, stop, keep a snapshot, into the bin; the bin does the rest.

Each stage is a row's, begun once under the machine's lock, with its event and what people are to be told in the same
transaction. What is done to the machine is done by the operations that there are for it, and what is seen of it says
whether that was: so a clock that was off, or was killed, goes on where it was, one stage after the other. While anybody
is still to be told of a stage, the next one waits.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Q

from portal.core.errors import DomainError
from portal.events import log
from portal.operations.selectors import last_operation
from portal.operations.states import State
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Membership
from portal.tenancy.roles import Role
from vms import lease_evidence, lease_words
from vms.lease import LEAST_IN_BIN, NOTICE, Stage, Terms, next_at
from vms.lease_selectors import terms_of, terms_of_each
from vms.models import VM, LeaseNotice, Lifecycle, Power, Snapshot, SnapshotState
from vms.models.vm import VMQuerySet
from vms.services import leases
from vms.services.delete import delete_vm
from vms.services.power import change_power
from vms.services.snapshots import take_snapshot
from vms.states import Action

LEASER = replace(SYSTEM, source="lease")
MOST_AT_ONCE = 200
TRY_AGAIN = timedelta(hours=1)
OFF = ("stopped", "error")
MAILED = frozenset({Stage.WARNED, Stage.KEPT, Stage.BINNED})
_STANDS_STILL = Q(tenant__suspended_at__isnull=False) | Q(tenant__closed_at__isnull=False)
logger = logging.getLogger(__name__)


def follow(now: datetime) -> None:
    """What is busy, or refused for another reason, is passed over and looked at the next time."""
    leases.apply_policies(LEASER, now)
    _stand_still(now)
    begun = 0
    for id in _due(now):
        begun += _is_moved(id, now)
        if begun == MOST_AT_ONCE:
            return


def _leased() -> VMQuerySet:
    return VM.objects.unscoped("by the clock").filter(expires_at__isnull=False, binned_at=None)


def _stand_still(now: datetime) -> None:
    """Members of a suspended tenant can extend nothing: they are warned anew, and the days until the bin begin anew."""
    rows = VM.objects.unscoped("by the clock").filter(_STANDS_STILL, expires_at__isnull=False)
    LeaseNotice.objects.filter(vm__in=rows.filter(lease_stage=Stage.WARNED).values("pk")).delete()
    rows.filter(lease_stage=Stage.WARNED).update(lease_stage=Stage.RUNNING, lease_since=None)
    rows.filter(lease_stage=Stage.KEPT).update(lease_since=now)


def _due(now: datetime) -> list[UUID]:
    """Those that have waited longest first."""
    rows = _leased().exclude(_STANDS_STILL).exclude(lifecycle__in=[Lifecycle.BUILDING, Lifecycle.DELETING])
    rows = rows.exclude(lease_stage=Stage.KEPT, is_protected=True)
    found = list(rows.only("tenant_id", "expires_at", "lease_stage", "lease_since"))
    terms = terms_of_each({vm.tenant_id for vm in found})
    moments = {vm.pk: _due_at(vm, terms[vm.tenant_id]) for vm in found}
    return sorted((id for id, at in moments.items() if at <= now), key=lambda id: moments[id])


def _due_at(vm: VM, terms: Terms) -> datetime:
    """One that is to be in the bin by now is tried again."""
    assert vm.lease is not None
    due = next_at(vm.lease, terms)
    if due is not None:
        return due
    assert vm.lease_since is not None
    return vm.lease_since + TRY_AGAIN


def _is_moved(id: UUID, now: datetime) -> bool:
    """Whether anything was begun."""
    try:
        with transaction.atomic():
            vm = _leased().select_related("tenant", "host").select_for_update(of=("self",)).filter(pk=id).first()
            return vm is not None and _move(vm, now)
    except DomainError as refusal:
        logger.info("the lease of %s waits: %s", id, refusal.detail)
    except Exception:
        logger.exception("lease of %s", id)
    return False


def _move(vm: VM, now: datetime) -> bool:
    terms = terms_of(vm.tenant_id)
    if _due_at(vm, terms) > now or _is_anybody_untold(vm):
        return False
    match Stage(vm.lease_stage):
        case Stage.RUNNING:
            return _warn(vm, terms, now)
        case Stage.WARNED:
            return _end(vm, terms, now)
        case Stage.ENDED:
            return _turn_off(vm) if vm.status not in OFF else _keep(vm, terms, now)
        case Stage.KEPT:
            return _turn_off(vm) if vm.status not in OFF else _lay_into_bin(vm, terms, now)
        case Stage.BINNED:
            return _try_bin_again(vm, now)


# -- the stages ------------------------------------------------------------------------------------------------------


def _warn(vm: VM, terms: Terms, now: datetime) -> bool:
    evidence = lease_evidence.of_vm(vm, now)
    _begin(vm, Stage.WARNED, terms, now, evidence.words)
    return True


def _end(vm: VM, terms: Terms, now: datetime) -> bool:
    """A day after the last mail went out, at the earliest."""
    told_at = LeaseNotice.objects.filter(vm=vm, stage=Stage.WARNED).aggregate(last=Max("told_at"))["last"]
    if told_at is not None and told_at + NOTICE > now:
        return False
    _begin(vm, Stage.ENDED, terms, now)
    return True


def _turn_off(vm: VM) -> bool:
    """By the power key; one that did not listen, and one that is paused, by force."""
    last = last_operation(SYSTEM, vm.pk)
    is_deaf = last is not None and last.source == LEASER.source and last.state == State.FAILED
    action = Action.FORCE_OFF if is_deaf or vm.observed_power == Power.PAUSED else Action.STOP
    change_power(actor=LEASER, vm=vm, action=action)
    return True


def _keep(vm: VM, terms: Terms, now: datetime) -> bool:
    """As a snapshot, once: where the quota, the host or the machine's state is in the way, the bin must do."""
    name = f"End of lease {vm.lease_since:%Y-%m-%d %H:%M}"
    kept = Snapshot.objects.unscoped("of a machine in hand").filter(vm=vm, name=name).first()
    if kept is not None and kept.state == SnapshotState.TAKING:
        return False
    if kept is not None:
        _begin(vm, Stage.KEPT, terms, now, f"What it was is kept as the snapshot “{name}”.")
        return True
    last = last_operation(SYSTEM, vm.pk)
    if last is not None and last.source == LEASER.source and last.kind == "vm.snapshot":
        return _go_on_without(vm, terms, now, str((last.error or {}).get("detail", "It was cancelled.")))
    try:
        with transaction.atomic():
            take_snapshot(actor=LEASER, vm=vm, name=name, description="What it was when its lease ended.", safety=True)
    except DomainError as refusal:
        if refusal.code == "operation_in_progress":
            raise
        return _go_on_without(vm, terms, now, refusal.detail)
    return True


def _go_on_without(vm: VM, terms: Terms, now: datetime, reason: str) -> bool:
    _begin(vm, Stage.KEPT, terms, now, f"No snapshot could be kept: {reason} In the bin it keeps its disks.")
    return True


def _lay_into_bin(vm: VM, terms: Terms, now: datetime) -> bool:
    until = _end_in_bin(now)
    _begin(vm, Stage.BINNED, terms, now, f"It is deleted for good on {lease_words.moment(until)}.")
    delete_vm(actor=LEASER, vm=vm, until=until)
    return True


def _try_bin_again(vm: VM, now: datetime) -> bool:
    _rows(vm).update(lease_since=now)
    delete_vm(actor=LEASER, vm=vm, until=_end_in_bin(now))
    return True


def _end_in_bin(now: datetime) -> datetime:
    return now + max(LEAST_IN_BIN, timedelta(hours=settings.BIN_HOURS))


# -- what is told ----------------------------------------------------------------------------------------------------


def _begin(vm: VM, stage: Stage, terms: Terms, now: datetime, detail: str = "") -> None:
    vm.lease_stage, vm.lease_since = stage, now
    _rows(vm).update(lease_stage=stage, lease_since=now)
    words = lease_words.told(vm, terms, detail)
    log.record(f"vm.lease-{stage}", actor=LEASER, target=vm, detail=words)
    if stage in MAILED:
        _tell(vm, stage, words)


def _tell(vm: VM, stage: Stage, words: str) -> None:
    """Whoever may extend it, and has an address."""
    people = Membership.objects.filter(tenant=vm.tenant_id, role__in=[Role.OWNER, Role.MEMBER], user__is_active=True)
    notices = [
        LeaseNotice(vm=vm, user_id=user_id, stage=stage, words=words)
        for user_id in people.exclude(user__email="").values_list("user_id", flat=True)
    ]
    LeaseNotice.objects.bulk_create(notices)


def _is_anybody_untold(vm: VM) -> bool:
    return LeaseNotice.objects.filter(vm=vm, told_at=None, refusal="").exists()


def _rows(vm: VM) -> VMQuerySet:
    return VM.objects.unscoped("a machine in hand").filter(pk=vm.pk)
