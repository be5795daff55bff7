"""Long work as rows: the truth about every job, whatever happens to broker and workers."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from portal.core.models import Row
from portal.core.pace import Amount
from portal.operations.states import ACTIVE, PUBLIC, State, StepState
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.tenancy.scoping import TenantQuerySet

LONGEST_WAIT, LONGEST_DETAIL = 300, 200


class Operation(Row):
    """One long job on one target. Only whoever holds the lease with the present `fence` may write to it."""

    kind = models.CharField(max_length=40)
    version = models.PositiveSmallIntegerField(default=1)
    title = models.CharField(max_length=200)
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="+")
    target_type = models.CharField(max_length=20)
    target_id = models.UUIDField()
    target_name = models.CharField(max_length=100)
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    waiting_for = models.CharField(max_length=LONGEST_WAIT, blank=True)
    error = models.JSONField(null=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    actor = models.CharField(max_length=150)
    source = models.CharField(max_length=120)
    request_id = models.CharField(max_length=64, blank=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()
    cancel_requested_at = models.DateTimeField(null=True)
    gives_way = models.BooleanField(default=False)  # to one on the same target, which is begun when this has ended
    # who works on it; operations of one lane (a host) share its few slots
    lane = models.CharField(max_length=40, blank=True)
    waits_for_slot = models.BooleanField(default=False)
    slot_since = models.DateTimeField(null=True)
    is_lane_down = models.BooleanField(default=False)
    fence = models.PositiveBigIntegerField(default=0)
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    failed_undos = models.PositiveIntegerField(default=0)
    rung_at = models.DateTimeField(null=True)

    objects = TenantQuerySet.as_manager()
    read_permission: ClassVar[Permission] = Permission.OPERATION_READ
    only_reads = False  # what it was found by: selectors.active_on_each says so

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["target_type", "target_id"],
                condition=Q(state__in=sorted(ACTIVE), gives_way=False),
                name="one_active_operation_per_target",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="operation_by_tenant"),
            models.Index(fields=["target_id", "-created_at"], name="operation_by_target"),
            models.Index(fields=["state"], condition=Q(state__in=sorted(ACTIVE)), name="operation_active"),
            models.Index(fields=["kind", "state"], name="operation_by_kind"),  # for their counts
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def name(self) -> str:
        return self.title

    @property
    def told_state(self) -> State:
        """As it is told: one whose step goes on by itself, without a worker, is under way."""
        goes_on = self.state == State.QUEUED and self.started_at is not None and not self.waiting_for
        return State.RUNNING if goes_on else State(self.state)

    @property
    def status(self) -> str:
        return PUBLIC[self.told_state]

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def topics(self) -> list[str]:
        """Of the live updates that what it works on has, as portal.events.live knows them."""
        held = [f"{hold.object_type}:{hold.object_id}" for hold in self.holds.all()]
        return [f"{self.target_type}:{self.target_id}", *held]

    @property
    def needs_attention(self) -> bool:
        return self.state == State.STUCK


class OperationHold(models.Model):
    """What an operation keeps others from beside its target, until it ends: the source of a clone, for instance.

    What it only reads it shares with others that do the same.
    """

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="holds")
    object_type = models.CharField(max_length=20)
    object_id = models.UUIDField()
    is_active = models.BooleanField(default=True)
    is_shared = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["object_type", "object_id"],
                condition=Q(is_active=True, is_shared=False),
                name="one_active_hold_per_object",
            )
        ]
        indexes = [models.Index(fields=["object_id"], name="hold_by_object")]


# What a step has of its progress when it begins.
NOTHING_MOVED = {
    "progress": 0.0,
    "done_bytes": None,
    "total_bytes": None,
    "bytes_per_second": None,
    "measured_at": None,
}


class OperationStep(models.Model):
    """A line of the journal. `output` is what later steps and the undo need, `kept` what it needs itself.

    Of a step that moves bytes, how far it was at `measured_at`, and how fast lately.
    """

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=40)
    title = models.CharField(max_length=100)
    weight = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=10, choices=StepState.choices, default=StepState.WAITING)
    progress = models.FloatField(default=0)
    detail = models.CharField(max_length=LONGEST_DETAIL, blank=True)
    output = models.JSONField(default=dict)
    kept = models.JSONField(default=dict)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    done_bytes = models.PositiveBigIntegerField(null=True)
    total_bytes = models.PositiveBigIntegerField(null=True)
    bytes_per_second = models.FloatField(null=True)
    measured_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["operation", "position"], name="one_step_per_position")]
        indexes = [models.Index(fields=["finished_at"], name="step_by_end")]

    @property
    def amount(self) -> Amount | None:
        """How far it is in bytes, where it moves any and has not ended."""
        if self.state != StepState.RUNNING or self.done_bytes is None or self.total_bytes is None:
            return None
        return Amount(self.done_bytes, self.total_bytes)

    @property
    def seconds_left(self) -> float | None:
        """By its speed; None while that is not known."""
        return self.amount.seconds_left(self.bytes_per_second) if self.amount else None
