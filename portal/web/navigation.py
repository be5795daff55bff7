"""Where one can go from every page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.urls import reverse

from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission


@dataclass(frozen=True)
class NavItem:
    label: str
    icon: str
    url: str
    is_current: bool
    badge: int = 0


@dataclass(frozen=True)
class NavGroup:
    """Items under a heading; the tenant's own come first and need none."""

    label: str
    items: list[NavItem]


# label, icon, address, and the beginnings of the names of all pages that belong to it
_TENANT = (
    ("Overview", "overview", "overview", ("overview",)),
    ("Virtual machines", "vm", "vm-list", ("vm-",)),
    ("Volumes", "disk", "volume-list", ("volume-",)),
    ("Groups", "network", "group-list", ("group-",)),
    ("Images", "image", "image-list", ("image-",)),
    ("Backups", "backup", "backup-list", ("backup-",)),
    ("Activity", "activity", "activity", ("activity", "webhook-")),
    ("Members", "members", "member-list", ("member-",)),
)
_PROVIDER = (
    ("Hosts", "host", "host-list", ("host-",)),
    ("Clusters", "network", "cluster-list", ("cluster-",)),
    ("Storage", "disk", "storage", ("storage",)),
    ("Backup targets", "backup", "target-list", ("target-",)),
    ("Operations", "operation", "provider-operations", ("provider-operation",)),
    ("Drift", "drift", "drift-list", ("drift-",)),
    ("Tenants", "tenant", "provider-tenants", ("provider-tenant",)),
    ("Users", "user", "provider-users", ("provider-user",)),
    ("Webhooks", "network", "provider-webhooks", ("provider-webhook",)),
    ("Audit", "activity", "provider-audit", ("provider-audit",)),
    ("Image catalogue", "image", "provider-images", ("provider-image",)),
    ("Sizes", "flavor", "provider-flavors", ("provider-flavor",)),
)


# How much waits behind an address, for who may open it; the apps add what they know of at start.
badges: dict[str, Callable[[Actor], int]] = {}


def groups(actor: Actor, slug: str, current: str) -> list[NavGroup]:
    """What this actor may open; `slug` is "" where there is no tenant, `current` the name of the page's address."""
    found = []
    if slug:
        found.append(NavGroup("", [_item(entry, current, slug) for entry in _TENANT]))
    if actor.can(Permission.HOST_READ):
        found.append(
            NavGroup("Provider", [_item(entry, current, badge=_badge(actor, entry[2])) for entry in _PROVIDER])
        )
    return found


def _badge(actor: Actor, name: str) -> int:
    return badges[name](actor) if name in badges else 0


def _item(entry: tuple[str, str, str, tuple[str, ...]], current: str, *args: str, badge: int = 0) -> NavItem:
    label, icon, name, beginnings = entry
    return NavItem(label, icon, reverse(name, args=args), current.startswith(beginnings), badge)
