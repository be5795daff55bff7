"""The drift inbox: findings that stay become rows, and rows whose finding is gone close themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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
# Told elsewhere: a host's page, the list of operations.
_NOT_HERE = frozenset({Kind.HOST_UNREAD, Kind.VM_WITHOUT_OPERATION, Kind.OPERATION_ABANDONED, Kind.OPERATION_STUCK})
_OF_VOLUMES = frozenset({Kind.DISK_MISSING, Kind.VOLUME_WITHOUT_OWNER, Kind.UNFINISHED_VOLUME})
_OF_ADDRESSES = frozenset({Kind.ADDRESS_MISSING, Kind.ADDRESS_WITHOUT_OWNER})


class Inbox:
    """Remembers what the reading before this one found: only what is found twice is more than a moment's view."""

    def __init__(self) -> None:
        self._seen: dict[Key, datetime] = {}

    @transaction.atomic
    def take(self, found: Iterable[Finding], rows: Rows, inventories: Mapping[UUID, Inventory]) -> None:
        """One reading. Says nothing of hosts that were not read, nor of what an operation works on."""
        now = timezone.now()
        findings = {_key(finding): finding for finding in found if finding.kind not in _NOT_HERE}
        known = {_key_of(drift): drift for drift in _unresolved()}
        for key, drift in known.items():
            if key in findings:
                _still(drift, findings[key], now)
            elif _is_judged(drift, rows, inventories):
                _close(drift, now)
        for key, finding in findings.items():
            if key not in known and key in self._seen:
                _open(finding, self._seen[key], now)
        self._seen = {key: self._seen.get(key, now) for key in findings if key not in known}
        Comparison.objects.bulk_create(
            [Comparison(host_id=host.id, at=now) for host in rows.hosts if host.id in inventories],
            update_conflicts=True,
            unique_fields=["host"],
            update_fields=["at"],
        )


def _unresolved() -> list[Drift]:
    return list(Drift.objects.unscoped("reconciler").exclude(state=DriftState.RESOLVED))


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


def _is_judged(drift: Drift, rows: Rows, inventories: Mapping[UUID, Inventory]) -> bool:
    """Whether this reading would have shown it, were it still so."""
    if rows.busy & {drift.pk, drift.vm_id, drift.host_id}:
        return False
    if drift.host_id is None:
        return True
    inventory = inventories.get(drift.host_id)
    if inventory is None:
        return False
    if drift.kind == Kind.UNFINISHED_VOLUME and str(drift.host_id) in rows.busy_lanes:
        return False
    is_seen = inventory.volumes is not None or drift.kind not in _OF_VOLUMES
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


def _still(drift: Drift, finding: Finding, now: datetime) -> None:
    values = {"detail": finding.detail[:500], "evidence": dict(finding.evidence), "vm_id": finding.vm_id}
    is_news = any(getattr(drift, name) != value for name, value in values.items())
    Drift.objects.unscoped("reconciler").filter(pk=drift.pk).update(last_seen=now, **values)
    if is_news:
        live.tell(None, "drift")


def _close(drift: Drift, now: datetime) -> None:
    """It is not so any more, whoever did that."""
    rows = Drift.objects.unscoped("reconciler").filter(pk=drift.pk)
    rows.update(state=DriftState.RESOLVED, resolved_at=now)
    log.record("drift.resolved", actor=SYSTEM, target=drift, kind_of_drift=drift.kind)
    live.tell(None, "drift")
