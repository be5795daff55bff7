"""Whatever comes in: refused with the right words, never a crash, and nothing is changed by it."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from portal.api.models import KeptAnswer
from tests.matrix import PERSONAS, PIECES, ROUTES
from tests.world import PASSWORD, Caller, World

WRITES = [
    pytest.param(route, method, id=f"{method} {route}")
    for route, entry in ROUTES.items()
    for method, call in entry.methods.items()
    if method in ("POST", "PUT", "PATCH") and call.body and (route, method) != PIECES
]
TAKES_FORMS = ("api/v1/images", "POST")
QUOTA = ("vms", "vcpus", "memory_mib", "disk_gib", "snapshots", "image_mib", "backup_mib")
CLASS = ("service_class", "cpu_floor", "cpu_ceiling", "has_huge_pages")
FIELDS = [
    pytest.param(route, method, name, id=f"{method} {route} {name}")
    for route, method, names in (
        ("api/v1/vms", "POST", ("name", "image", "flavor", "tenant", "ssh_keys", "user_data", "network", "protected")),
        ("api/v1/vms/<uuid:id>", "PATCH", ("name", "protected")),
        ("api/v1/vms/bulk", "POST", ("action", "vms")),
        ("api/v1/vms/<uuid:id>/actions/resize", "POST", ("flavor",)),
        ("api/v1/vms/<uuid:id>/console", "POST", ("kind",)),
        ("api/v1/flavors", "POST", ("slug", "name", "vcpus", "memory_mib", "disk_gib", *CLASS)),
        ("api/v1/flavors/<slug:flavor>", "PATCH", ("active", *CLASS)),
        ("api/v1/plans", "POST", ("action", "target", "body")),
        ("api/v1/tenants", "POST", ("name", "slug")),
        ("api/v1/hosts", "POST", ("name", "uri")),
        ("api/v1/hosts/<slug:host>", "PATCH", ("cpu_ratio", "memory_ratio", "memory_reserved_mib", "dedicated_cpus")),
        ("api/v1/quotas/<slug:tenant>", "PUT", QUOTA),
        ("api/v1/tokens", "POST", ("name", "scopes", "tenant", "expires_at")),
        ("api/v1/ssh-keys", "POST", ("public_key", "name")),
    )
    for name in names
]
# (what it is, its bytes, the status)
BODIES: list[tuple[str, bytes, int]] = [
    ("truncated", b'{"name": "a', 400),
    ("no object", b"[]", 400),
    ("a number", b"4", 400),
    ("null", b"null", 400),
    ("nested too deeply", b"[" * 100_000, 400),
    ("objects in objects", b'{"a":' * 30 + b"1" + b"}" * 30, 400),
    ("equal keys", b'{"name": "a", "name": "b"}', 400),
    ("NaN", b'{"name": NaN}', 400),
    ("Infinity", b'{"name": -Infinity}', 400),
    ("5,000 digits", b'{"name": ' + b"9" * 5000 + b"}", 400),
    ("NUL in a value", b'{"name": "a\\u0000b"}', 400),
    ("NUL in a key", b'{"a\\u0000b": 1}', 400),
    ("half a surrogate pair", b'{"name": "\\ud800"}', 400),
    ("not UTF-8", b'{"name": "\xff"}', 400),
    ("UTF-16", '{"name": "a"}'.encode("utf-16"), 400),
    ("trailing words", b'{"name": "a"} x', 400),
    ("an unknown field", b'{"is_admin": true}', 400),
    ("mass assignment", b'{"id": 1, "tenant_id": 1, "host": 1, "created_at": 1, "ip": 1}', 400),
    ("1 MiB and a byte", b'{"name": "' + b"a" * 1024 * 1024 + b'"}', 413),
]
WRONG: list[Any] = [
    True,
    1.5,
    -1,
    2**31,
    2**63,
    2**64,
    None,
    [4],
    {},
    "",
    " ",
    "4",
    "\u202e",
    "a" * 70_000,
    [[]],
    [None],
]


def as_who_may(world: World, route: str) -> Caller:
    """An admin may everything but acts on nobody's own."""
    is_own = route.startswith("api/v1/vms") or route.endswith("cancel")
    may = all(call.statuses[PERSONAS.index("owner")] < 300 for call in ROUTES[route].methods.values())
    return world.caller("owner" if is_own and may else "admin")


def rows() -> dict[str, int]:
    """How many rows each table has, but for the tokens that the tests themselves make."""
    counts = {}
    for model in apps.get_models():
        if model._meta.label not in ("accounts.ApiToken", "sessions.Session"):
            counts[model._meta.label] = (
                model._base_manager.count()
                if not hasattr(model._base_manager.all(), "unscoped")
                else model._base_manager.all().unscoped("test").count()
            )
    return counts


def check_refusal(answer: Any) -> dict[str, Any]:
    assert answer["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance", "code", "errors"} <= set(problem)
    assert len(answer.content) < 20_000
    for leak in ("Traceback", "/work", "site-packages", "sqlite"):
        assert leak not in answer.content.decode()
    return problem


@pytest.mark.parametrize(("route", "method"), WRITES)
def test_bad_bodies(world: World, route: str, method: str) -> None:
    program, path = as_who_may(world, route), ROUTES[route].path(world)
    before = rows()
    for words, raw, status in BODIES:
        answer = program.request(method, path, raw)
        assert answer.status_code == status, (words, answer.content[:500])
        check_refusal(answer)
    assert rows() == before


@pytest.mark.parametrize(("route", "method"), WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "text/xml"},
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": "application/json; charset=utf-7"},
        {"Content_Encoding": "gzip"},
    ],
    ids=lambda headers: next(iter(headers.values())),
)
def test_what_is_not_json(world: World, route: str, method: str, headers: dict[str, str]) -> None:
    program, entry = as_who_may(world, route), ROUTES[route]
    body = entry.methods[method].body
    assert body is not None
    raw = json.dumps(body(world)).encode()
    raw = gzip.compress(raw) if "Content_Encoding" in headers else raw
    path = entry.path(world)
    before = rows()
    answer = program.request(method, path, raw, **headers)
    is_form = (route, method) == TAKES_FORMS and headers.get("content_type", "").startswith("multipart/")
    assert answer.status_code == (400 if is_form else 415)
    check_refusal(answer)
    assert rows() == before


@pytest.mark.parametrize(("route", "method", "name"), FIELDS)
def test_wrong_values(world: World, route: str, method: str, name: str) -> None:
    """Each field of each body with values of every kind: what is refused names the field and changes nothing."""
    program, entry = as_who_may(world, route), ROUTES[route]
    body = entry.methods[method].body
    assert body is not None
    path, valid, accepted = entry.path(world), body(world), []
    for value in WRONG:
        before = rows()
        answer = program.request(method, path, {**valid, name: value})
        if answer.status_code < 300:
            accepted.append(value)
            continue
        assert answer.status_code in (400, 409), (value, answer.content)
        problem = check_refusal(answer)
        if answer.status_code == 400:
            assert {error["field"].split(".")[0] for error in problem["errors"]} == {name}, (value, problem)
        assert rows() == before
    check_accepted(name, accepted)


def check_accepted(name: str, accepted: list[Any]) -> None:
    """What may pass, by the field: nothing of another type."""
    harmless: dict[str, tuple[Any, ...]] = {
        "protected": (True,),
        "cpu_floor": (None,),
        "cpu_ceiling": (None,),
        "active": (True,),
        "tenant": (None,),
        "network": (None, ""),
        "expires_at": (None,),
        "user_data": ("", " ", "4", "\u202e"),
        "name": ("4", ""),
        "slug": (),
        "target": ("",),
        "cpu_ratio": (1.5, "4"),
        "memory_ratio": (1.5, "4"),
    }
    if name in (*QUOTA, "memory_reserved_mib"):
        harmless[name] = (None,)
    for value in accepted:
        assert any(value is each or (type(value) is type(each) and value == each) for each in harmless.get(name, ())), (
            name,
            value,
        )


class TestHeaders:
    def test_a_method_cannot_be_overridden(self, world: World) -> None:
        path = f"vms/{world.machines['web'].pk}"
        answer = world.caller("owner").get(f"{path}", X_HTTP_Method_Override="DELETE")
        assert answer.status_code == 200
        assert answer.json()["status"] == "running"

    def test_who_one_is_cannot_be_said_in_a_header(self, world: World) -> None:
        for name in ("X-User-Id", "X-Remote-User", "Remote-User", "X-Forwarded-User"):
            assert Client(headers={name: "admin"}).get("/api/v1/hosts").status_code == 401

    @pytest.mark.parametrize(
        "header", ["Bearer", "Bearer x", "Bearer berth_x_y", "Bearer berth_" + "x" * 5000, "Basic YTpi", "Token x", ""]
    )
    def test_bad_credentials(self, world: World, header: str) -> None:
        answer = Client(headers={"Authorization": header}).get("/api/v1/vms")
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == 'Bearer realm="berth"'
        assert check_refusal(answer)["code"] in ("not_authenticated", "invalid_token")

    def test_a_token_in_the_address_is_none(self, world: World) -> None:
        text = world.token("owner")[1]
        assert Client().get(f"/api/v1/vms?token={text}&access_token={text}").status_code == 401


class TestBrowserSession:
    @pytest.fixture
    def browser(self, world: World) -> Client:
        browser = Client(enforce_csrf_checks=True)
        assert browser.login(username="owner", password=PASSWORD)
        return browser

    def test_it_reads(self, browser: Client) -> None:
        assert browser.get("/api/v1/vms").status_code == 200

    def test_it_changes_nothing_without_the_csrf_token(self, world: World, browser: Client) -> None:
        answer = browser.delete(f"/api/v1/vms/{world.machines['web'].pk}")
        assert answer.status_code == 403
        assert check_refusal(answer)["code"] == "csrf_failed"

    def test_a_token_beside_it_decides(self, world: World, browser: Client) -> None:
        text = world.token("viewer")[1]
        path = f"/api/v1/vms/{world.machines['web'].pk}"
        assert browser.delete(path, headers={"Authorization": f"Bearer {text}"}).status_code == 403
        assert browser.get("/api/v1/vms", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_bug_is_a_problem_without_its_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: Any, **kwargs: Any) -> None:
        raise ValueError("/secret/path")

    monkeypatch.setattr("vms.selectors.vms", crash)
    answer = world.caller("owner").get("vms")
    assert answer.status_code == 500
    problem = check_refusal(answer)
    assert problem["code"] == "internal_error"
    assert "secret" not in answer.content.decode()


def test_a_database_that_is_away_is_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def away(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("vms.selectors.vms", away)
    answer = world.caller("owner").get("vms")
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert check_refusal(answer)["code"] == "unavailable"


def test_refusals_are_not_kept(world: World) -> None:
    world.caller("owner").post("vms", {}, Idempotency_Key="a")
    assert not KeptAnswer.objects.exists()
