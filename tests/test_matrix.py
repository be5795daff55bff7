"""The authorization matrix, held against every route that the URLconf has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.urls import URLPattern, URLResolver, get_resolver

from tests.matrix import COVERED, PERSONAS, ROUTES
from tests.world import Caller, World

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CALLS = [
    pytest.param(route, method, id=f"{method} {route}") for route, entry in ROUTES.items() for method in entry.methods
]


def routes(resolver: URLResolver | None = None, before: str = "") -> Iterator[tuple[str, Any]]:
    """Each route as it is spelled, and its view."""
    for pattern in (resolver or get_resolver()).url_patterns:
        spelled = before + re.sub(r"^\^|\\Z$|\$$", "", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, spelled)
        elif isinstance(pattern, URLPattern):
            yield spelled, pattern.callback


def covered() -> dict[str, Any]:
    return {route: view for route, view in routes() if route.startswith(COVERED)}


def methods_of(view: Any) -> set[str]:
    """What a view of the API answers; other views are asked for GET."""
    handlers = getattr(view, "cls", None)
    return {method for method in METHODS if hasattr(handlers, method.lower())} if handlers else {"GET"}


def caller(world: World, persona: str) -> Caller:
    if persona == "scopeless":
        return world.caller("owner", scopes=[])
    return world.caller("" if persona == "anonymous" else persona)


def test_every_route_is_in_the_matrix() -> None:
    assert set(covered()) == set(ROUTES)
    assert len(ROUTES) >= 35, "routes were lost, or the walk through the URLconf is broken"


def test_every_method_is_in_the_matrix() -> None:
    catch_all = {"api/v1/"}
    offered = {route: methods_of(view) for route, view in covered().items() if route not in catch_all}
    assert offered == {route: set(entry.methods) for route, entry in ROUTES.items() if route not in catch_all}


@pytest.mark.parametrize(("route", "method"), CALLS)
def test_matrix(world: World, route: str, method: str) -> None:
    """Each persona finds the world as it was made."""
    entry = ROUTES[route]
    call = entry.methods[method]
    path, body = entry.path(world), call.body(world) if call.body else None
    statuses = []
    for persona in PERSONAS:
        program = caller(world, persona)
        before = transaction.savepoint()
        answer = program.request(method, path, body, **call.headers)
        transaction.savepoint_rollback(before)
        statuses.append(answer.status_code)
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
    assert dict(zip(PERSONAS, statuses, strict=True)) == dict(zip(PERSONAS, call.statuses, strict=True))


@pytest.mark.parametrize("route", [route for route in ROUTES if route != "api/v1/"])
def test_other_methods_are_refused(world: World, route: str) -> None:
    entry = ROUTES[route]
    for method in {*METHODS, "OPTIONS", "TRACE", "FOO"} - set(entry.methods):
        answer = world.caller("admin").request(method, entry.path(world))
        assert answer.status_code == 405, method


@pytest.mark.parametrize("route", [route for route in ROUTES if "<uuid:id>" in route])
def test_what_is_not_yours_looks_as_if_it_did_not_exist(world: World, route: str) -> None:
    """The same status and the same body, but for the id of the request."""
    entry = ROUTES[route]
    path = entry.path(world)
    nowhere = re.sub(r"[0-9a-f-]{36}", "018f0000-0000-7000-8000-000000000000", path)
    for method, call in entry.methods.items():
        body = call.body(world) if call.body else None
        answers = [world.caller("foreign").request(method, each, body) for each in (path, nowhere)]
        problems = [{**answer.json(), "instance": ""} for answer in answers]
        assert problems[0] == problems[1]
        assert problems[0]["status"] == 404


def test_lists_show_nothing_of_others(world: World, call: Callable[..., Caller]) -> None:
    for name in ("vms", "operations", "tenants", "quotas", "events", "images"):
        answer = call("foreign").get(name)
        assert answer.status_code == 200
        assert "acme" not in answer.content.decode(), name
        assert str(world.machines["web"].pk) not in answer.content.decode(), name


class TestRightsMoveAtOnce:
    def test_a_member_who_is_removed(self, world: World, call: Callable[..., Caller]) -> None:
        member, path = call("member"), f"vms/{world.machines['web'].pk}"
        assert member.get(path).status_code == 200
        call("owner").delete("tenants/acme/members/member")
        assert member.get(path).status_code == 404

    def test_a_user_who_is_disabled(self, world: World, call: Callable[..., Caller]) -> None:
        member = call("member")
        world.people["member"].is_active = False
        world.people["member"].save()
        assert member.get("vms").status_code == 401

    def test_rights_in_two_tenants_do_not_mix(self, world: World, call: Callable[..., Caller]) -> None:
        """An owner of beta who is a viewer of acme."""
        call("owner").put("tenants/acme/members/foreign", {"role": "viewer"})
        path = f"vms/{world.machines['web'].pk}"
        assert call("foreign").get(path).status_code == 200
        assert call("foreign").patch(path, {"name": "mine"}).status_code == 403
        wanted = {"name": "new", "image": "tiny", "flavor": "small", "tenant": "acme"}
        assert call("foreign").post("vms", wanted).status_code == 403

    def test_a_token_for_one_tenant_reaches_no_other(self, world: World) -> None:
        narrow = world.caller("admin", tenant_id=world.beta.pk)
        assert narrow.get(f"vms/{world.machines['foreign'].pk}").status_code == 200
        assert narrow.get(f"vms/{world.machines['web'].pk}").status_code == 404
        assert narrow.get("hosts").status_code == 403
