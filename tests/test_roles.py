"""The table of roles against what it is used for: routes of the API, the docs page, what a billing reader sees."""

from __future__ import annotations

from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import transaction

from portal.tenancy.gate import Actor
from portal.tenancy.roles import PERSONAL, TENANT_ROLES, Permission, Role
from portal.tenancy.services import set_member
from tests.matrix import ROUTES
from tests.test_matrix import covered
from tests.world import World

PAGE = Path(__file__).parents[1] / "docs" / "roles.md"
CELLS = [(role, permission) for role in Role for permission in Permission]
# Of acme's or their own: what a route of the matrix declares is what its statuses say.
IN_ACME = {route: entry for route, entry in ROUTES.items() if route not in ("api/v1/", "api/v1/schema", "api/v1/docs")}
READ_BY_BILLING = ("tenants", "quotas", "quota-requests", "usage", "charges", "prices", "budgets")


def test_the_docs_page_is_the_table() -> None:
    written = StringIO()
    call_command("roles", stdout=written)
    assert PAGE.read_text() == written.getvalue(), "write it anew: manage.py roles > docs/roles.md"


@pytest.mark.parametrize(("role", "permission"), CELLS)
def test_the_gate_follows_the_table(role: Role, permission: Permission) -> None:
    tenant, other = (Permission, Role)  # anything that is one thing and not the other
    actor = Actor(user=None, memberships={tenant: role})  # type: ignore[dict-item]
    assert actor.can(permission, tenant) == (permission in TENANT_ROLES[role] | PERSONAL)  # type: ignore[arg-type]
    assert actor.can(permission, other) == (permission in PERSONAL)  # type: ignore[arg-type]


def test_each_role_includes_the_one_before() -> None:
    roles = list(Role)
    assert all(TENANT_ROLES[low] < TENANT_ROLES[high] for low, high in pairwise(roles))


@pytest.mark.parametrize("route", sorted(IN_ACME))
def test_no_role_does_more_than_its_permissions(route: str) -> None:
    """Whoever lacks what the view declares is refused there: the matrix and the table say the same."""
    declared = getattr(getattr(covered()[route], "cls", None), "permissions", {})
    for method, call in IN_ACME[route].methods.items():
        needed = declared.get(method)
        for role, status in zip((Role.VIEWER, Role.MEMBER, Role.OWNER), call.statuses[2:5], strict=True):
            if needed and needed not in TENANT_ROLES[role] | PERSONAL:
                assert status in (403, 404), f"{role} {method}"


def test_a_billing_reader_sees_quota_and_money_only(world: World) -> None:
    """At every route that shows what there is: no machine, no member, no event."""
    set_member(actor=Actor(None, provider_role="admin"), tenant=world.acme, username="foreign", role="billing")
    program = world.caller("foreign", tenant_id=world.acme.pk)
    for route, entry in IN_ACME.items():
        is_billing = route.removeprefix("api/v1/").startswith(READ_BY_BILLING)
        for method, call in entry.methods.items():
            before = transaction.savepoint()
            body = call.body(world) if call.body else None
            answer = program.request(method, entry.path(world), body, **call.headers)
            transaction.savepoint_rollback(before)
            if method == "GET" and call.statuses[2] == 200 and not is_billing and answer.status_code == 200:
                assert str(world.machines["web"].pk) not in answer.content.decode(), route
                assert '"viewer"' not in answer.content.decode(), route
            if method != "GET" and needs(route, method) not in PERSONAL:
                assert answer.status_code in (400, 403, 404, 409), f"{method} {route}: {answer.status_code}"


def needs(route: str, method: str) -> Permission | None:
    permissions = getattr(getattr(covered()[route], "cls", None), "permissions", {})
    return permissions.get(method)
