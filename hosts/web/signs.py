"""What the provider's staff must see on every page of hosts."""

from __future__ import annotations

from django.db.models import Q
from django.urls import reverse

from hosts.models import Host, HostState
from portal.tenancy.gate import Actor
from portal.web.navigation import Sign


def failed_hosts(actor: Actor) -> Sign | None:
    """Those that have failed, or seem to have: of one its page, of more the map. One query."""
    rows = Host.objects.filter(Q(state=HostState.FAILED) | Q(suspected_at__isnull=False))
    found = list(rows.order_by("name").values_list("name", "state"))
    if not found:
        return None
    if len(found) > 1:
        return Sign(f"{len(found)} hosts have failed", reverse("cluster-list"))
    ((name, state),) = found
    words = "has failed" if state == HostState.FAILED else "seems to have failed"
    return Sign(f"{name} {words}", reverse("host-failover", args=[name]))
