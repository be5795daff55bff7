"""The drift inbox: findings that stay become rows, and rows whose finding is gone close themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from hosts.driver.types import Inventory
from portal.events import live, log
from portal.tenancy.gate import SYSTEM
from vms.audit.findings import Finding, Kind
from vms.audit.rows import Rows
from vms.models import Comparison, Drift, DriftState

LONGEST_NAME = 200
Key = tuple[UUID | None, str, str]
# Told elsewhere: a host's page, the list of operations; of the image store, of meters and of the clock's work, by an
# audit alone.
_OF_OPERATIONS = frozenset({Kind.VM_WITHOUT_OPERATION, Kind.OPERATION_ABANDONED, Kind.OPERATION_STUCK})
_OF_IMAGES = frozenset({Kind.IMAGE_FILE_WITHOUT_IMAGE, Kind.IMAGE_WITHOUT_OPERATION, Kind.INTAKE_WITHOUT_OWNER})
_OF_METERS = frozenset({Kind.METERED_WRONG, Kind.METERED_WITHOUT_RESOURCE})
_NOT_HERE = frozenset({Kind.HOST_UNREAD, Kind.LAYER_UNNEEDED, *_OF_OPERATIONS, *_OF_IMAGES, *_OF_METERS})
_OF_VOLUMES = frozenset(
    {Kind.DISK_MISSING, Kind.DISK_CHANGED, Kind.DISK_LARGER, Kind.VOLUME_WITHOUT_OWNER, Kind.UNFINISHED_VOLUME}
)
_OF_ADDRESSES = frozenset({Kind.ADDRESS_MISSING, Kind.ADDRESS_WITHOUT_OWNER})


class Inbox:
    """Remembers what the turn before this one found: only what is found twice is more than a moment's view."""

    def __init__(self) -> None:
        self._before: dict[Key, datetime] = {}
        self._seen: dict[Key, datetime] = {}

    def next_turn(self) -> None:
        self._before, self._seen = self._seen, {}

    def take_books(self, found: Iterable[Finding], rows: Rows) -> None:
        """What was found in the books alone."""
        with transaction.atomic():
            self._take(None, found, lambda drift: not rows.busy & {drift.pk, drift.vm_id}, timezone.now())

    def take_host(self, host_id: UUID, found: Iterable[Finding], rows: Rows, inventory: Inventory) -> None:
        """What was found on a host that was read."""
        now = timezone.now()
        with transaction.atomic():
            self._take(host_id, found, lambda drift: _is_judged(drift, rows, inventory), now)
            Comparison.objects.update_or_create(host_id=host_id, defaults={"at": now})

    def _take(
        self, host_id: UUID | None, found: Iterable[Finding], is_judged: Callable[[Drift], bool], now: datetime
    ) -> None:
        """Says nothing of what is not judged: this turn could not have seen it."""
        findings = {_key(finding): finding for finding in found if finding.kind not in _NOT_HERE}
        known = {_key_of(drift): drift for drift in _unresolved(host_id)}
        _still([(drift, findings[key]) for key, drift in known.items() if key in findings], now)
        for key, drift in known.items():
            if key not in findings and is_judged(drift):
                _close(drift, now)
        news = {key: finding for key, finding in findings.items() if key not in known}
        for key, finding in news.items():
            if key in self._before:
                _open(finding, self._before[key], now)
        self._seen |= {key: self._before.get(key, now) for key in news}


def _unresolved(host_id: UUID | None) -> list[Drift]:
    return list(Drift.objects.unscoped("reconciler").filter(host=host_id).exclude(state=DriftState.RESOLVED))


def _key(finding: Finding) -> Key:
    return finding.host_id, str(finding.kind), _name(finding)


def _name(finding: Finding) -> str:
    """As it fits into a row: a name that is too long keeps its beginning and is told apart by its digest."""
    if len(finding.object) <= LONGEST_NAME:
        return finding.object
    digest = hashlib.sha256(finding.object.encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{finding.object[: LONGEST_NAME - 20]}… {digest}"


def _key_of(drift: Drift) -> Key:
    return drift.host_id, drift.kind, drift.object


def _is_judged(drift: Drift, rows: Rows, inventory: Inventory) -> bool:
    """Whether this reading of its host would have shown it, were it still so."""
    if rows.busy & {drift.pk, drift.vm_id, drift.host_id}:
        return False
    if drift.kind == Kind.UNFINISHED_VOLUME and drift.object in rows.moving:
        return False
    is_seen = None not in inventory.pools.values() or drift.kind not in _OF_VOLUMES
    return is_seen and (inventory.dhcp_hosts is not None or drift.kind not in _OF_ADDRESSES)


def _open(finding: Finding, first_seen: datetime, now: datetime) -> None:
    drift = Drift.objects.create(
        host_id=finding.host_id,
        kind=finding.kind,
        object=_name(finding),
        vm_id=finding.vm_id,
        detail=finding.detail[:500],
        evidence=dict(finding.evidence),
        first_seen=first_seen,
        last_seen=now,
    )
    log.record("drift.found", actor=SYSTEM, target=drift, kind_of_drift=drift.kind, detail=drift.detail)
    live.tell(None, "drift")


def _still(seen: Sequence[tuple[Drift, Finding]], now: datetime) -> None:
    """In one write, for cards may be many; and not of their state, which somebody may have just set."""
    is_news = False
    for drift, finding in seen:
        values = {"detail": finding.detail[:500], "evidence": dict(finding.evidence), "vm_id": finding.vm_id}
        for name, value in values.items():
            is_news = is_news or getattr(drift, name) != value
            setattr(drift, name, value)
        drift.last_seen = now
    rows = Drift.objects.unscoped("reconciler")
    rows.bulk_update([drift for drift, _ in seen], ["detail", "evidence", "vm", "last_seen"])
    if is_news:
        live.tell(None, "drift")


def _close(drift: Drift, now: datetime) -> None:
    """It is not so any more, whoever did that."""
    rows = Drift.objects.unscoped("reconciler").filter(pk=drift.pk)
    rows.update(state=DriftState.RESOLVED, resolved_at=now)
    log.record("drift.resolved", actor=SYSTEM, target=drift, kind_of_drift=drift.kind)
    live.tell(None, "drift")
