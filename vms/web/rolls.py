"""The hosts of a roll on the page of its operation, each with how far its drain is."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.urls import reverse

from hosts.models import Host
from portal.operations.models import Operation
from portal.web.presenters.operation import LOOKS, WORDS, Part
from vms.maintenance.drain import DRAIN


def parts(operation: Operation) -> Sequence[Part]:
    """By name, those that are still hosts. Two queries."""
    ids = operation.params["hosts"]
    rows = Operation.objects.unscoped("of the provider's own").filter(kind=DRAIN.kind, target_id__in=ids)
    begun = rows.filter(created_at__gte=operation.created_at).order_by("created_at")
    drains = {drain.target_id: drain for drain in begun}
    return [_part(host, drains.get(host.pk)) for host in Host.objects.filter(pk__in=map(UUID, ids)).order_by("name")]


def _part(host: Host, drain: Operation | None) -> Part:
    url = reverse("host-detail", args=[host.name])
    if drain is None:
        return Part(host.name, url, "not begun", "stopped", "")
    state = drain.told_state
    return Part(host.name, url, f"drain {WORDS[state]}", LOOKS[state], reverse("operation-detail", args=[drain.pk]))
