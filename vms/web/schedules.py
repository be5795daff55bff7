"""Schedules as pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django import forms
from django.urls import reverse

from hosts.models import BackupTarget
from vms.models import Outcome, Schedule, ScheduleKind, ScheduleRun
from vms.retention import MOST
from vms.rhythm import Every
from vms.scheduling import makers
from vms.services.schedules import COUNTS, WEEKDAYS

LOOKS = {
    Outcome.STARTED: "working",
    Outcome.SUCCEEDED: "running",
    Outcome.FAILED: "failed",
    Outcome.SKIPPED: "attention",
}
_EVERY = {Every.WORKDAY: "Monday to Friday"}
_KINDS = {ScheduleKind.POWER: "Office hours"}
_NOT_WEEKLY = ("", "Only for weekly ones")
_OF = {"hourly": "hours", "daily": "days", "weekly": "weeks", "monthly": "months"}
_WORDS = {"last": "The last ones", **{name: f"Of the last {unit}, one each" for name, unit in _OF.items()}}


@dataclass(frozen=True)
class Last:
    word: str
    look: str
    at: datetime
    words: str
    is_late: bool
    operation_url: str


@dataclass(frozen=True)
class ScheduleRow:
    """`rhythm` and `kept` in words, where any are; `next_at` None where it is paused."""

    id: UUID
    title: str
    rhythm: str
    kept: str
    next_at: datetime | None
    is_active: bool
    last: Last | None


def row(schedule: Schedule, run: ScheduleRun | None) -> ScheduleRow:
    return ScheduleRow(
        id=schedule.pk,
        title=schedule.title,
        rhythm=_rhythm(schedule),
        kept=_kept(schedule),
        next_at=schedule.next_at if schedule.is_active else None,
        is_active=schedule.is_active,
        last=_last(run) if run else None,
    )


def _rhythm(schedule: Schedule) -> str:
    if schedule.every == Every.HOUR:
        return f"at minute {schedule.at.minute} of each hour"
    day = f"on {WEEKDAYS[schedule.weekday].capitalize()}s " if schedule.weekday is not None else ""
    if schedule.until is not None:
        return f"{day}on at {schedule.at:%H:%M}, off at {schedule.until:%H:%M}, {schedule.zone}"
    return f"{day}at {schedule.at:%H:%M}, {schedule.zone}"


def _kept(schedule: Schedule) -> str:
    """The last 3, of 7 days and 4 weeks one each."""
    last = f"the last {schedule.keep_last}" if schedule.keep_last else ""
    counts = [(getattr(schedule, f"keep_{name}"), unit) for name, unit in _OF.items()]
    each = " and ".join(f"{count} {unit}" for count, unit in counts if count)
    return ", ".join(filter(None, (last, f"of {each} one each" if each else ""))).capitalize()


def _last(run: ScheduleRun) -> Last:
    return Last(
        word=str(run.outcome),
        look=LOOKS[Outcome(run.outcome)],
        at=run.at,
        words=run.words,
        is_late=run.is_late,
        operation_url=reverse("operation-detail", args=[run.operation_id]) if run.operation_id else "",
    )


class ScheduleForm(forms.Form):
    """The rules are the service's."""

    kind = forms.ChoiceField(label="What")
    every = forms.ChoiceField(
        label="How often",
        initial=Every.DAY.value,
        choices=[(each.value, _EVERY.get(each, each.capitalize())) for each in Every],
    )
    at = forms.TimeField(
        label="At", initial="03:00", input_formats=["%H:%M"], widget=forms.TimeInput(attrs={"type": "time"})
    )
    until = forms.TimeField(
        label="Off at",
        required=False,
        input_formats=["%H:%M"],
        widget=forms.TimeInput(attrs={"type": "time"}),
        help_text="Of office hours: it is switched on at the time above, and off at this one.",
    )
    weekday = forms.ChoiceField(
        label="Day",
        required=False,
        choices=[_NOT_WEEKLY, *((str(i), day.capitalize()) for i, day in enumerate(WEEKDAYS))],
    )
    zone = forms.CharField(
        label="Time zone", max_length=64, initial="UTC", help_text="Such as Europe/Berlin. Its clocks tell the time."
    )
    target = forms.ChoiceField(label="Backups go to", required=False)

    def __init__(self, data: object = None, *, targets: Sequence[BackupTarget]) -> None:
        super().__init__(data, auto_id="id_schedule_%s")  # type: ignore[arg-type]
        kinds = [kind for kind in makers.kinds() if targets or not makers.maker_of(kind).needs_target]
        self.fields["kind"].choices = [(str(kind), _KINDS.get(kind, str(kind.label))) for kind in kinds]  # type: ignore[attr-defined]
        self.fields["target"].choices = [  # type: ignore[attr-defined]
            ("", "The default place for backups"),
            *((target.slug, target.name) for target in targets),
        ]
        for name in COUNTS:
            self.fields[f"keep_{name}"] = forms.IntegerField(
                label=_WORDS[name], min_value=0, max_value=MOST, initial=7 if name == "last" else 0, required=False
            )

    @property
    def counts(self) -> list[forms.BoundField]:
        return [self[f"keep_{name}"] for name in COUNTS]
