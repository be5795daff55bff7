"""What the shell of every page shows. Read when a template asks, so fragments cost nothing here."""

from __future__ import annotations

import time
from functools import cached_property, partial
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from portal.operations import selectors as operations
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web import navigation
from portal.web.actor import actor_of
from portal.web.tenant import current_tenant, tenants_of

LONGEST_PAGE_SECONDS = 10


class Shell:
    """At most two queries: the tenants, and how much is under way. For the provider's staff those of badges and signs
    as well."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def tenants(self) -> list[Tenant]:
        return tenants_of(self._request)

    @cached_property
    def tenant(self) -> Tenant | None:
        return current_tenant(self._request)

    @cached_property
    def nav(self) -> list[navigation.NavGroup]:
        match = self._request.resolver_match
        return navigation.groups(actor_of(self._request), self.tenant, (match and match.url_name) or "")

    @cached_property
    def switches(self) -> list[tuple[Tenant, str]]:
        """The tenants, each with the address of this page in it: of one thing's page, that of the list it is in."""
        return [(tenant, navigation.same_page(self._request, tenant.slug)) for tenant in self.tenants]

    @cached_property
    def active_operations(self) -> int:
        return self._counts.active

    @cached_property
    def signs(self) -> list[navigation.Sign]:
        actor = actor_of(self._request)
        if not actor.can(Permission.HOST_READ):
            return []
        return [sign for ask in navigation.signs if (sign := ask(actor)) is not None]

    @cached_property
    def notice(self) -> str:
        """What the tenant's people, or the provider's staff, must not overlook."""
        actor = actor_of(self._request)
        if self.tenant is not None and (bar := actor.bars.get(self.tenant.pk)) is not None:
            return bar.words
        stuck = self._counts.stuck if actor_of(self._request).is_provider else 0
        if not stuck:
            return ""
        return "An operation needs attention." if stuck == 1 else f"{stuck} operations need attention."

    @cached_property
    def _counts(self) -> operations.Counts:
        return operations.counts(actor_of(self._request), self.tenant)

    @cached_property
    def live_url(self) -> str:
        """From before this page was looked up, so that nothing falls between it and its stream."""
        return f"{reverse('live')}?since={int((time.time() - LONGEST_PAGE_SECONDS) * 1000)}"


def shell(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)  # absent where a middleware before authentication refused
    if user is None or not user.is_authenticated:
        return {}
    shell = Shell(request)
    names = ("switches", "tenant", "nav", "active_operations", "live_url", "notice", "signs")
    return {name: partial(getattr, shell, name) for name in names}
