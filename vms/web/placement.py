"""The last decision on where a machine runs, as its page shows it."""

from __future__ import annotations

from hosts.web.placement import PlacementCard, card
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import group_selectors as selectors
from vms.models import VM


def latest(actor: Actor, vm: VM) -> PlacementCard | None:
    """None for tenants, to whom hosts are not named, and for machines from before decisions were kept."""
    if not actor.can(Permission.HOST_READ):
        return None
    found = selectors.placements(actor, vm).first()
    return card(found) if found else None
