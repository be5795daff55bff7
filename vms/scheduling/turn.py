"""One turn of the scheduler, rung by beat: begin what is due, see what became of it, delete what is kept no longer.

Two schedulers may turn at once: each due time is taken under the schedule's row lock, and moves on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from portal.core.errors import DomainError
from portal.events import live, log
from portal.operations.models import Operation
from portal.operations.states import FINAL, State
from portal.tenancy.gate import SYSTEM
from vms.models import Outcome, Schedule, ScheduleRun
from vms.retention import keep
from vms.rhythm import LONGEST
from vms.scheduling.makers import ALREADY, maker_of

LATE_AFTER = timedelta(minutes=10)
TRY_AGAIN = timedelta(minutes=1)
LONGEST_PAUSE_MINUTES = 24 * 60
MOST_AT_ONCE = 500
RUNS_KEPT = 50  # of those that made nothing that is still there
_BUSY, _NO_STATE_FOR_IT = "operation_in_progress", "wrong_state"
_SKIPPED = (_BUSY, _NO_STATE_FOR_IT, ALREADY)
logger = logging.getLogger(__name__)


def turn(now: datetime) -> None:
    _each(_from_another_clock(now), lambda id: _set_right(id, now))
    _each(_schedules().filter(is_active=True, next_at__lte=now).order_by("next_at"), lambda id: _fire(id, now))
    _settle()
    _each(_schedules().filter(needs_pruning=True), lambda id: _prune(id, now))


def _schedules() -> QuerySet[Schedule]:
    return Schedule.objects.unscoped("scheduler")


def _each(rows: QuerySet[Schedule], act: Callable[[UUID], None]) -> None:
    """What goes wrong with one keeps no other from its turn."""
    for id in rows.values_list("pk", flat=True)[:MOST_AT_ONCE]:
        try:
            act(id)
        except Exception:
            logger.exception("schedule %s", id)


# -- the clock -------------------------------------------------------------------------------------------------------


def _from_another_clock(now: datetime) -> QuerySet[Schedule]:
    """Due later than any rhythm allows: a clock was ahead when that was noted, and was set back."""
    ahead = (Q(every=every, due_at__gt=now + longest) for every, longest in LONGEST.items())
    return _schedules().filter(reduce(or_, ahead), is_active=True)


@transaction.atomic
def _set_right(id: UUID, now: datetime) -> None:
    schedule = _schedules().select_for_update().get(pk=id)
    due_at = schedule.following(now)
    _schedules().filter(pk=id).update(due_at=due_at, next_at=due_at)


# -- what is due -----------------------------------------------------------------------------------------------------


@transaction.atomic
def _fire(id: UUID, now: datetime) -> None:
    """Takes the due time, unless another scheduler did. However many were missed, it is done once, and then."""
    rows = _schedules().select_related("vm").select_for_update(of=("self",))
    schedule = rows.filter(pk=id, is_active=True, next_at__lte=now).first()
    if schedule is None:
        return
    then = schedule.following(now)
    try:
        with transaction.atomic():
            made, operation = maker_of(schedule.kind).make(SYSTEM, schedule, now)
    except DomainError as refusal:
        if refusal.code == _BUSY and now + TRY_AGAIN < then:
            _schedules().filter(pk=id).update(next_at=now + TRY_AGAIN)
            return
        outcome = Outcome.SKIPPED if refusal.code in _SKIPPED else Outcome.FAILED
        _note(schedule, now, outcome, refusal.detail, is_news=refusal.code != ALREADY)
    except Exception:
        logger.exception("schedule %s", id)
        _note(schedule, now, Outcome.FAILED, "Something went wrong inside Berth.")
    else:
        _note(schedule, now, Outcome.STARTED, operation_id=operation.pk, made=made)
    _schedules().filter(pk=id).update(due_at=then, next_at=then)


def _note(
    schedule: Schedule, now: datetime, outcome: Outcome, words: str = "", *, is_news: bool = True, **made: UUID | None
) -> None:
    is_late = now - schedule.due_at > LATE_AFTER
    run = ScheduleRun(schedule=schedule, due_at=schedule.due_at, at=now, is_late=is_late, outcome=outcome, **made)
    run.words = words[:300]
    run.save(force_insert=True)
    if is_news and outcome in (Outcome.FAILED, Outcome.SKIPPED):
        log.record(f"schedule.{outcome}", actor=SYSTEM, target=schedule, detail=words)
    _tell(schedule)


def _tell(schedule: Schedule) -> None:
    live.tell(schedule.tenant_id, f"vm:{schedule.vm_id}", f"schedules:{schedule.vm_id}")


# -- what became of it -----------------------------------------------------------------------------------------------


def _settle() -> None:
    """As their operations have ended; what was made newly may push something old out."""
    rows = ScheduleRun.objects.filter(outcome=Outcome.STARTED)[:MOST_AT_ONCE]
    begun = {run.operation_id: run for run in rows if run.operation_id}
    ended = Operation.objects.unscoped("scheduler").filter(pk__in=list(begun), state__in=FINAL)
    for operation in ended:
        with transaction.atomic():
            _take_end(begun[operation.pk], operation)


def _take_end(run: ScheduleRun, operation: Operation) -> None:
    is_good = operation.state == State.SUCCEEDED
    outcome, words = Outcome.SUCCEEDED if is_good else Outcome.FAILED, (operation.error or {}).get("detail", "")
    rows = ScheduleRun.objects.filter(pk=run.pk, outcome=Outcome.STARTED)
    if rows.update(outcome=outcome, words=words[:300]):
        _schedules().filter(pk=run.schedule_id).update(needs_pruning=True)
        _tell(_schedules().get(pk=run.schedule_id))


# -- what is kept no longer ------------------------------------------------------------------------------------------


@transaction.atomic
def _prune(id: UUID, now: datetime) -> None:
    """Ask for the end of what the policy no longer keeps, oldest first; until that is gone it is looked at again."""
    schedule = _schedules().select_related("vm").select_for_update(of=("self",)).get(pk=id)
    runs = list(schedule.runs.filter(outcome=Outcome.SUCCEEDED).exclude(made=None).order_by("id"))
    whole = maker_of(schedule.kind).whole([run.made for run in runs if run.made])
    there = [run for run in runs if run.made in whole]
    kept = keep([run.at for run in there], schedule.policy)
    over = [run for run in there if run.at not in kept]
    _forget_old_runs(schedule, there)
    _schedules().filter(pk=id).update(needs_pruning=bool(over))
    _delete(schedule, (run for run in over if _may_ask(run, now)), now)


def _may_ask(run: ScheduleRun, now: datetime) -> bool:
    """Less and less often, where it does not go."""
    if run.deletion_asked_at is None or run.deletion_asked_at > now:
        return True
    pause = timedelta(minutes=min(2**run.deletions_asked, LONGEST_PAUSE_MINUTES))
    return run.deletion_asked_at + pause <= now


def _delete(schedule: Schedule, runs: Iterable[ScheduleRun], now: datetime) -> None:
    for run in runs:
        try:
            with transaction.atomic():
                maker_of(schedule.kind).delete(SYSTEM, run.made)  # type: ignore[arg-type]
        except DomainError as refusal:
            if refusal.code in (_BUSY, _NO_STATE_FOR_IT):  # so it is for the others of this machine
                return
            logger.warning("schedule %s keeps %s: %s", schedule.pk, run.made, refusal.detail)
        asked = min(run.deletions_asked + 1, 15)
        ScheduleRun.objects.filter(pk=run.pk).update(deletions_asked=asked, deletion_asked_at=now)


def _forget_old_runs(schedule: Schedule, there: list[ScheduleRun]) -> None:
    latest = schedule.runs.values_list("pk", flat=True)[:RUNS_KEPT]
    keep = {run.pk for run in there} | set(latest)
    schedule.runs.exclude(pk__in=keep).exclude(outcome=Outcome.STARTED).delete()
