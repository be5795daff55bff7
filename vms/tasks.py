"""What happens to machines and images by the clock."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from vms import lease_mail, usage
from vms.planning import services as plans
from vms.scheduling.turn import turn
from vms.services import bin, budget, copies, failover, lease_clock, tenants, uploads
from vms.workflows import clear_up


@shared_task  # type: ignore[untyped-decorator]
def look_at_schedules() -> None:
    turn(timezone.now())


@shared_task  # type: ignore[untyped-decorator]
def evict_unused_images() -> None:
    """Remove copies of images from hosts where nobody has used them for long."""
    copies.evict_unused()


@shared_task  # type: ignore[untyped-decorator]
def reap_uploads() -> None:
    uploads.reap()


@shared_task  # type: ignore[untyped-decorator]
def clear_up_snapshots() -> None:
    """Merge or delete the files of snapshots that ended while something was in the way."""
    clear_up.clear_up_all()


@shared_task  # type: ignore[untyped-decorator]
def recover_waiting() -> None:
    failover.recover_waiting()


@shared_task  # type: ignore[untyped-decorator]
def follow_tenants() -> None:
    """Stop, bin and purge what belongs to suspended and closed tenants."""
    tenants.follow(timezone.now())


@shared_task  # type: ignore[untyped-decorator]
def follow_budgets() -> None:
    """Look at each budget, tell people of what it came to, then stop machines where it says so."""
    budget.follow()


@shared_task  # type: ignore[untyped-decorator]
def follow_leases() -> None:
    """Bring leases on by what is due, and tell people."""
    now = timezone.now()
    lease_clock.follow(now)
    lease_mail.send(now)


@shared_task  # type: ignore[untyped-decorator]
def empty_bin() -> None:
    bin.empty(timezone.now())


@shared_task  # type: ignore[untyped-decorator]
def roll_up_usage() -> None:
    """Sum minutes up to quarters of an hour, and forget what is older than is kept."""
    usage.roll_up(timezone.now())


@shared_task  # type: ignore[untyped-decorator]
def forget_plans() -> None:
    plans.forget(timezone.now())
