"""Schedules: what is made of a machine by the clock, and what became of each time."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from portal.tenancy.models import TenantOwned
from portal.tenancy.scoping import TenantQuerySet
from vms import office_hours
from vms.models.vm import VM
from vms.office_hours import Hours
from vms.retention import Policy
from vms.rhythm import Every, Rhythm, following


class ScheduleKind(models.TextChoices):
    SNAPSHOT = "snapshot"
    BACKUP = "backup"
    POWER = "power"


class Outcome(models.TextChoices):
    """SKIPPED: the machine was in no state for it."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class Schedule(TenantOwned):
    """Snapshots or backups of one machine by the clock, and how many of them are kept; or its power, by its hours.

    `due_at` is the time that comes next by its rhythm, `next_at` when it is looked at: that time, or a later one where
    the machine was busy. `target` is the id of a backup target, null for all else. Of its power, it is switched on at
    `at` and off at `until`, and nothing is kept.
    """

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="schedules")
    kind = models.CharField(max_length=10, choices=ScheduleKind.choices)
    every = models.CharField(max_length=10, choices=[(each.value, each.value) for each in Every])
    at = models.TimeField()
    until = models.TimeField(null=True)
    weekday = models.PositiveSmallIntegerField(null=True)
    zone = models.CharField(max_length=64, default="UTC")
    keep_last = models.PositiveIntegerField(default=0)
    keep_hourly = models.PositiveIntegerField(default=0)
    keep_daily = models.PositiveIntegerField(default=0)
    keep_weekly = models.PositiveIntegerField(default=0)
    keep_monthly = models.PositiveIntegerField(default=0)
    target = models.UUIDField(null=True)
    is_active = models.BooleanField(default=True)
    due_at = models.DateTimeField()
    next_at = models.DateTimeField()
    needs_pruning = models.BooleanField(default=False)
    created_by = models.CharField(max_length=150)

    objects = TenantQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "id"]
        indexes = [models.Index(fields=["next_at"], condition=models.Q(is_active=True), name="schedule_by_next")]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{self.title} of {self.vm.name}"

    @property
    def title(self) -> str:
        words = {ScheduleKind.POWER: "office hours"}.get(ScheduleKind(self.kind), self.kind)
        return f"{self.every.removesuffix('s').capitalize()} {words}"

    @property
    def rhythm(self) -> Rhythm:
        return Rhythm(Every(self.every), self.at, self.zone, self.weekday)

    @property
    def hours(self) -> Hours | None:
        """Of one of its power: when it is on."""
        return Hours(self.rhythm, self.until) if self.until is not None else None

    def following(self, after: datetime) -> datetime:
        """The first time after `after`, in UTC."""
        return following(self.rhythm, after) if self.hours is None else office_hours.following(self.hours, after).at

    @property
    def policy(self) -> Policy:
        return Policy(
            last=self.keep_last,
            hourly=self.keep_hourly,
            daily=self.keep_daily,
            weekly=self.keep_weekly,
            monthly=self.keep_monthly,
            zone=self.zone,
        )


class ScheduleRun(models.Model):
    """One time that a schedule was due. Ids rise in the order of making, whatever the clock does meanwhile.

    `made` is the id of the snapshot or backup: a schedule's retention deletes what stands here, and nothing else.
    """

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="runs")
    due_at = models.DateTimeField()
    at = models.DateTimeField()
    is_late = models.BooleanField(default=False)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    words = models.CharField(max_length=300, blank=True)
    operation_id = models.UUIDField(null=True)
    made = models.UUIDField(null=True)
    deletions_asked = models.PositiveSmallIntegerField(default=0)
    deletion_asked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["outcome"], condition=models.Q(outcome="started"), name="schedule_run_started"),
            models.Index(fields=["schedule", "-id"], name="schedule_run_by_schedule"),
        ]
