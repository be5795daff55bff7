"""Where one can go from every page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from portal.quotas import requests
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
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
    ("Groups", "group", "group-list", ("group-",)),
    ("Images", "image", "image-list", ("image-",)),
    ("Backups", "backup", "backup-list", ("backup-",)),
    ("Usage", "clock", "usage", ("usage",)),
    ("Activity", "activity", "activity", ("activity", "webhook-")),
    ("Quota", "cpu", "quota", ("quota",)),
    ("Members", "members", "member-list", ("member-",)),
)
_PROVIDER = (
    ("Hosts", "host", "cluster-list", ("host-", "cluster-")),
    ("Storage", "disk", "storage", ("storage",)),
    ("Backup targets", "backup", "target-list", ("target-",)),
    ("Operations", "operation", "provider-operations", ("provider-operation",)),
    ("Drift", "drift", "drift-list", ("drift-",)),
    ("Tenants", "tenant", "provider-tenants", ("provider-tenant",)),
    ("Prices", "price", "provider-prices", ("provider-price",)),
    ("Quota requests", "cpu", "provider-quota-requests", ("provider-quota-request",)),
    ("Users", "user", "provider-users", ("provider-user",)),
    ("Webhooks", "webhook", "provider-webhooks", ("provider-webhook",)),
    ("Audit", "activity", "provider-audit", ("provider-audit",)),
    ("Image catalogue", "image", "provider-images", ("provider-image",)),
    ("Sizes", "flavor", "provider-flavors", ("provider-flavor",)),
)


# How much waits behind an address, for who may open it; the apps add what they know of at start.
badges: dict[str, Callable[[Actor], int]] = {"provider-quota-requests": requests.waiting}


@dataclass(frozen=True)
class Sign:
    """What the provider's staff must see on every page, and where it is told in full."""

    words: str
    url: str


# Each says what is wrong, or None; one cheap query each. The apps add what they know of at start.
signs: list[Callable[[Actor], Sign | None]] = []


# What somebody sees who reads of no machines.
_OF_BILLING = ("quota", "usage")


def groups(actor: Actor, tenant: Tenant | None, current: str) -> list[NavGroup]:
    """What this actor may open; `current` is the name of the page's address."""
    found = []
    if tenant is not None:
        sees_machines = actor.can(Permission.VM_READ, tenant.pk)
        entries = [entry for entry in _TENANT if sees_machines or entry[2] in _OF_BILLING]
        found.append(NavGroup("", [_item(entry, current, tenant.slug) for entry in entries]))
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


def same_page(request: HttpRequest, slug: str) -> str:
    """The address of the page in another tenant; what shows one thing leads to the list it stands in."""
    match = request.resolver_match
    name = match.url_name if match else None
    if match is None or name is None or "slug" not in match.kwargs or name.startswith("provider-"):
        return reverse("overview", args=[slug])
    if set(match.kwargs) == {"slug"}:
        return reverse(name, args=[slug])
    entries = (entry for entry in _TENANT if name.startswith(entry[3]))
    return reverse(next(entries, _TENANT[0])[2], args=[slug])
