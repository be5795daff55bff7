"""A machine on a lease, a clock that a test turns, and a worker that does what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from portal.events.models import Event
from portal.operations.models import Operation
from portal.operations.states import ACTIVE, State
from tests.reconcile.conftest import host, reconciler, turn
from tests.snapshots.conftest import work
from tests.world import World
from vms import lease_mail
from vms.models import VM, Lifecycle, Power, Snapshot, SnapshotState
from vms.services import lease_clock
from vms.workflows.delete import DELETE, lay_into_bin

__all__ = ["host", "reconciler", "turn", "work"]

DAY = timedelta(days=1)
_POWER = {"vm.stop": Power.STOPPED, "vm.force-off": Power.STOPPED, "vm.start": Power.RUNNING}


@dataclass
class Leased:
    """`now` is the clock's; `web` is the machine, which runs and belongs to acme."""

    world: World
    now: datetime = field(default_factory=timezone.now)

    @property
    def web(self) -> VM:
        return VM.objects.unscoped("test").select_related("tenant", "host").get(pk=self.world.machines["web"].pk)

    def change(self, **values: object) -> None:
        VM.objects.unscoped("test").filter(pk=self.web.pk).update(**values)

    def look(self, later: timedelta = timedelta(minutes=1), *, works: bool = True, sends: bool = True) -> str:
        """So much later, one turn of the clock; then the worker and the mail have theirs. The stage it is in then."""
        self.now += later
        lease_clock.follow(self.now)
        if works:
            self.work()
        if sends:
            lease_mail.send(self.now)
        return self.web.lease_stage

    def work(self, state: State = State.SUCCEEDED) -> None:
        """What is under way ends so."""
        for operation in Operation.objects.unscoped("test").filter(state__in=ACTIVE, target_id=self.web.pk):
            error = None if state == State.SUCCEEDED else {"detail": "It broke."}
            Operation.objects.unscoped("test").filter(pk=operation.pk).update(state=state, error=error)
            if state == State.SUCCEEDED:
                self._took_effect(operation)
            elif operation.kind == DELETE.kind:
                self.change(lifecycle=Lifecycle.READY, purge_at=None)

    def _took_effect(self, operation: Operation) -> None:
        if operation.kind in _POWER:
            self.change(observed_power=_POWER[operation.kind])
        elif operation.kind == DELETE.kind:
            lay_into_bin(operation, {})
        elif operation.kind == "vm.snapshot":
            rows = Snapshot.objects.unscoped("test").filter(pk=operation.params["snapshot"])
            rows.update(state=SnapshotState.READY)

    @property
    def operations(self) -> list[str]:
        rows = Operation.objects.unscoped("test").filter(target_id=self.web.pk, source="lease").order_by("created_at")
        return list(rows.values_list("kind", flat=True))

    @property
    def told(self) -> list[str]:
        """The log of its lease, oldest first."""
        rows = Event.objects.unscoped("test").filter(target_id=self.web.pk, kind__startswith="vm.lease-")
        return [kind.removeprefix("vm.lease-") for kind in rows.order_by("id").values_list("kind", flat=True)]


@pytest.fixture
def leased(world: World) -> Leased:
    """`web`, whose lease ends in ten days, with the policy that every tenant begins with."""
    for person in ("owner", "member", "viewer", "foreign"):
        world.people[person].email = f"{person}@example.org"
        world.people[person].save()
    Operation.objects.unscoped("test").all().delete()
    world.leased("web", days=10)
    return Leased(world)
