"""Drain: all machines of a host move to others, a few at once; then it is in maintenance.

Each look begins with the rows: which machines are there, and what became of their moves since the drain was accepted.
So whoever dies on the way, the next look goes on, and no machine is moved that is on its way or has arrived.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db import transaction

from hosts.models import Host, HostState
from hosts.services.hosts import set_state
from portal.core.errors import Conflict, Invalid, NotFound
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation, OperationStep
from portal.operations.selectors import active_on_each
from portal.operations.states import ACTIVE, State
from portal.operations.workflow import LookAgain, Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import loose
from vms.maintenance.reading import machines_on, why_stuck
from vms.models import VM, AffinityGroup, GroupPolicy
from vms.services.migrate import migrate_vm
from vms.workflows.migrate import MIGRATE

AT_ONCE, MOST_AT_ONCE = 2, 16
MOST_TRIES = 2
LOOK_AGAIN_SECONDS = 2.0
MOST_TOLD = 10


@transaction.atomic
def drain_host(*, actor: Actor, host: Host, concurrency: int = AT_ONCE) -> Operation:
    """Empty it, with so many machines on their way at once. From now on it takes none.

    Raises Invalid at `concurrency`, and Conflict where it failed, or something works on it.
    """
    actor.require(Permission.HOST_WRITE)
    check_concurrency(concurrency)
    host = set_state(actor=actor, host=host, state=HostState.DRAINING)
    params = {"concurrency": concurrency, "machines": len(machines_on([host]))}
    return operations.submit(DRAIN, actor=actor, target=host, title=f"Drain host {host.name}", params=params)


def check_concurrency(wanted: int) -> None:
    """Raises Invalid."""
    if not 1 <= wanted <= MOST_AT_ONCE:
        raise Invalid(f"Use a number from 1 to {MOST_AT_ONCE}.", field="concurrency")


class _Look:
    """The host as it is at one look.

    `refused` are machines that no host took, with the words of the refusal; those that were `asked_again` stay.
    """

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.host = Host.objects.get(pk=context.operation.target_id)
        self.vms = machines_on([self.host])
        self.refused: dict[str, str] = dict(context.kept.get("refused", {}))
        self.asked_again: list[str] = list(context.kept.get("asked_again", []))
        ids = [vm.pk for vm in self.vms]
        self.busy = active_on_each(ids)
        rows = Operation.objects.unscoped("workflow").filter(kind=MIGRATE.kind, target_id__in=ids)
        self.moves: dict[UUID, list[Operation]] = defaultdict(list)  # newest first
        for move in rows.filter(created_at__gte=context.operation.created_at):
            self.moves[move.target_id].append(move)

    @cached_property
    def under_way(self) -> set[UUID]:
        return {id for id, moves in self.moves.items() if moves[0].is_active and not moves[0].needs_attention}

    def stays(self, vm: VM) -> str:
        """Why it is not tried again, for people; "" for one that is yet to go."""
        moves = self.moves[vm.pk]
        last = moves[0] if moves else None
        if last is not None and last.needs_attention:
            return "its move needs an administrator"
        if last is not None and last.state == State.CANCELLED:
            return "its move was cancelled"
        if last is not None and not last.is_active and len(moves) >= MOST_TRIES:
            return str((last.error or {}).get("detail", "its move failed"))
        return self.refused.get(str(vm.pk)) or why_stuck(vm)

    @property
    def waiting(self) -> list[VM]:
        """Those that are yet to begin, in their order."""
        return [vm for vm in self.vms if vm.pk not in self.under_way and not self.stays(vm)]

    def begin(self) -> None:
        """As many as may be on their way at once. Of machines that are kept together one by one: the first chooses."""
        free = int(self.context.params["concurrency"]) - len(self.under_way)
        for vm in self.waiting:
            if free <= 0:
                return
            if vm.pk not in self.busy and not self._companions(vm) & self.under_way:
                free -= self._begin(vm)

    def _begin(self, vm: VM) -> bool:
        """Whether it is on its way. One that its owner works on at this very moment is asked again later."""
        self.context.check()
        try:
            migrate_vm(actor=self._actor, vm=vm)
        except NotFound:  # it was deleted at this very moment
            return False
        except Conflict as refusal:
            if refusal.code != "operation_in_progress":
                self.refused[str(vm.pk)] = refusal.detail
            return False
        self.under_way.add(vm.pk)
        return True

    @cached_property
    def _actor(self) -> Actor:
        return operations.acting_for(self.context.operation, Permission.HOST_WRITE)

    def _companions(self, vm: VM) -> set[UUID]:
        return self._together.get(vm.pk, set())

    @cached_property
    def _together(self) -> Mapping[UUID, set[UUID]]:
        rows = AffinityGroup.members.through.objects.filter(affinitygroup__policy=GroupPolicy.TOGETHER)
        groups: dict[UUID, set[UUID]] = defaultdict(set)
        for group_id, vm_id in rows.filter(vm__in=self.vms).values_list("affinitygroup", "vm"):
            groups[group_id].add(vm_id)
        found: dict[UUID, set[UUID]] = defaultdict(set)
        for members in groups.values():
            for member in members:
                found[member] |= members - {member}
        return found

    def tell(self) -> None:
        """How many have gone, with what those on their way have behind them. Raises where the end was asked for."""
        total = max(int(self.context.params["machines"]), len(self.vms), 1)
        gone = total - len(self.vms)
        rows = OperationStep.objects.filter(operation__target_id__in=self.under_way, operation__state__in=ACTIVE)
        behind = sum(rows.filter(operation__kind=MIGRATE.kind, name="move").values_list("progress", flat=True))
        words = f"{gone} of {total} machines moved, {len(self.under_way)} on their way"
        self.context.progress((gone + behind) / total, words)

    def ask_again(self) -> bool:
        """Once of each that was refused: those that were on their way then may have been what was in the way."""
        anew = [id for id in self.refused if id not in self.asked_again]
        self.asked_again += anew
        self.refused = {id: words for id, words in self.refused.items() if id not in anew}
        return bool(anew)

    def again(self, words: str = "") -> LookAgain:
        return LookAgain(LOOK_AGAIN_SECONDS, words, keep={"refused": self.refused, "asked_again": self.asked_again})


def empty(context: StepContext) -> Output:
    look = _Look(context)
    if look.host.state != HostState.DRAINING:
        raise StepFailed("put_back", f"Somebody set the host to “{look.host.state}” meanwhile. What moved has moved.")
    look.tell()
    look.begin()
    if look.under_way:
        raise look.again()
    if look.waiting:
        vm = look.waiting[0]
        raise look.again(f"the end of “{look.busy[vm.pk].title}”" if vm.pk in look.busy else "")
    if look.ask_again():
        raise look.again()
    if look.vms:
        raise StepFailed("host_not_empty", _words(look))
    if ledger.used(look.host.pk).get("vcpus"):
        raise look.again("machines that are on their way here; they are moved on when they have arrived")
    return None


def _words(look: _Look) -> str:
    """Which stayed, and why; the same reason once."""
    names: dict[str, list[str]] = defaultdict(list)
    for vm in look.vms:
        names[look.stays(vm)].append(vm.name)
    count = Counter({reason: len(those) for reason, those in names.items()})
    told = [f"{_some(names[reason])}: {reason.rstrip('.')}." for reason, _ in count.most_common()]
    stay = "1 machine stays" if len(look.vms) == 1 else f"{len(look.vms)} machines stay"
    return f"{stay} on the host, which takes no new ones. {' '.join(told)}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return ", ".join(names[:MOST_TOLD]) + more


def _become(operation: Operation, state: HostState) -> None:
    """Unless somebody has set it to another state since."""
    if Host.objects.filter(pk=operation.target_id, state=HostState.DRAINING).update(state=state):
        actor = operations.actor_of(operation)
        host, before = Host.objects.get(pk=operation.target_id), {"state": HostState.DRAINING}
        after = {"state": state}
        log.record(
            "host.state-changed", actor=actor, target=host, operation_id=operation.pk, before=before, after=after
        )


def drained(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """Loose volumes go with it, where another host sees them."""
    loose.leave(Host.objects.get(pk=operation.target_id))
    _become(operation, HostState.MAINTENANCE)


def given_up(operation: Operation) -> None:
    """After a cancel no more are begun, and those under way end by themselves; after a failure it is still to go."""
    if (operation.error or {}).get("code") == "cancelled":
        _become(operation, HostState.CORDONED)


DRAIN = register(
    Workflow(
        kind="host.drain",
        doing="being drained",
        done="drained",
        permission=Permission.HOST_WRITE,
        steps=(Step("empty", "Moving its machines to other hosts", empty),),
        succeeded=drained,
        unwound=given_up,
        deadline=timedelta(days=7),
    )
)
