"""Machines whose host went down under them come back as their owners want them, in a bounded number of attempts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from portal.core import clocks
from portal.core.errors import Conflict
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM
from vms.audit.findings import Kind
from vms.models import VM, Drift, DriftState, Lifecycle, Power
from vms.workflows.repair import REPAIR

ATTEMPTS = 3
# After the first failure, then after the second: storage and networks of a host that just started may take a while.
PAUSES = (timedelta(seconds=30), timedelta(seconds=120))


class Recovery:
    """What was tried for these machines so far. Two queries, however many they are."""

    def __init__(self, vm_ids: Collection[UUID], now: datetime) -> None:
        self._now = now
        self._tried: dict[UUID, list[Operation]] = {}
        rows = Operation.objects.unscoped("recovery").filter(
            kind=REPAIR.kind, source=SYSTEM.source, target_id__in=vm_ids
        )
        for operation in rows.order_by("created_at"):
            self._tried.setdefault(operation.target_id, []).append(operation)
        cards = Drift.objects.unscoped("recovery").filter(vm_id__in=vm_ids, kind=Kind.STOPPED_OUTSIDE)
        self._told = set(cards.exclude(state=DriftState.RESOLVED).values_list("vm_id", flat=True))

    def bring_back(self, vm_id: UUID, off_since: datetime | None) -> bool:
        """Start it, unless that was tried a moment ago; False where nothing more will be tried.

        `off_since` None: the poll has not noted it yet, and the next turn decides.
        """
        if off_since is None:
            return True
        tried = [each for each in self._tried.get(vm_id, []) if each.created_at >= off_since]
        if vm_id in self._told or len(tried) >= ATTEMPTS:
            return False
        if not tried or self._is_over(tried[-1].finished_at, PAUSES[len(tried) - 1]):
            _submit(vm_id)
        return True

    def _is_over(self, finished_at: datetime | None, pause: timedelta) -> bool:
        if finished_at is None:
            return False
        is_of_another_clock = finished_at > clocks.latest()  # nobody knows how long ago it was
        return is_of_another_clock or finished_at + pause <= self._now


def obey_guest(vm_id: UUID) -> None:
    """The guest powered itself off, and that is what is wanted from now on."""
    with transaction.atomic():
        rows = VM.objects.unscoped("reconciler").filter(
            pk=vm_id, desired_power=Power.RUNNING, observed_power=Power.STOPPED, lifecycle=Lifecycle.READY
        )
        vm = rows.select_for_update().first()  # whoever starts it meanwhile waits for this, or this for them
        if vm is not None and operations.active_on("vm", vm_id) is None:
            rows.update(desired_power=Power.STOPPED)
            log.record("vm.powered-off-inside", actor=SYSTEM, target=vm)


def _submit(vm_id: UUID) -> None:
    try:
        with transaction.atomic():
            vm = VM.objects.unscoped("recovery").select_for_update().get(pk=vm_id)
            title = f"Start {vm.name} again: nobody stopped it"
            operations.submit(REPAIR, actor=SYSTEM, target=vm, title=title, lane=vm.host_id)
    except (Conflict, VM.DoesNotExist):  # its owner was faster
        return
