"""Lists: pages that lose nothing, and cost the same however many rows there are."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.operations.models import Operation
from tests.world import Caller, World, forget_machines
from vms.models import VM

Api = Callable[..., Caller]
LISTS = ("vms", "operations", "events", "images", "flavors", "tenants", "quotas", "tokens", "ssh-keys", "hosts")


def everything(program: Caller, path: str) -> list[str]:
    found, pages = [], 0
    while path:
        answer = program.get(path)
        assert answer.status_code == 200, answer.content
        body = answer.json()
        assert set(body) == {"results", "next"}
        assert answer.headers.get("Link") == (f'<{body["next"]}>; rel="next"' if body["next"] else None)
        found += [row["id"] for row in body["results"]]
        pages += 1
        assert pages < 200
        path = _path(body["next"])
    return found


def _path(url: str | None) -> str:
    if url is None:
        return ""
    assert url.startswith(settings.PUBLIC_URL)
    return f"{urlsplit(url).path}?{urlsplit(url).query}"


@pytest.fixture
def many(world: World) -> World:
    for number in range(296):
        world.vm(f"vm-{number}")
    return world


class TestCursors:
    @pytest.mark.parametrize("limit", [1, 7, 50, 100])
    def test_300_rows_without_loss(self, many: World, call: Api, limit: int) -> None:
        if limit == 1:  # the same, over fewer rows
            forget_machines(VM.objects.unscoped("test").filter(name__startswith="vm-").exclude(name__startswith="vm-1"))
        expected = [str(id) for id in VM.objects.unscoped("test").filter(tenant=many.acme).values_list("pk", flat=True)]
        found = everything(call("owner"), f"vms?limit={limit}")
        assert found == expected

    def test_rows_of_one_instant(self, many: World, call: Api) -> None:
        rows = VM.objects.unscoped("test").filter(tenant=many.acme)
        rows.update(created_at=many.machines["web"].created_at)
        found = everything(call("owner"), "vms?limit=30")
        assert len(found) == len(set(found)) == 300

    def test_rows_that_come_and_go_shift_nothing(self, many: World, call: Api) -> None:
        first = call("owner").get("vms?limit=100").json()
        many.vm("newest")
        forget_machines(VM.objects.unscoped("test").filter(pk=first["results"][0]["id"]))
        second = call("owner").get(_path(first["next"])).json()
        assert not {row["id"] for row in first["results"]} & {row["id"] for row in second["results"]}
        assert len(second["results"]) == 100

    def test_filters_go_along(self, many: World, call: Api) -> None:
        found = everything(call("owner"), "vms?limit=20&search=vm-1")
        assert len(found) == len({number for number in range(296) if str(number).startswith("1")})

    @pytest.mark.parametrize("name", ["events", "operations"])
    def test_other_lists(self, many: World, call: Api, name: str) -> None:
        found = everything(call("admin"), f"{name}?limit=3")
        assert len(found) == len(set(found))
        assert found == [row["id"] for row in call("admin").get(f"{name}?limit=100").json()["results"]]

    @pytest.mark.parametrize("cursor", ["x", "null", "W10=", "%00", "e" * 5000, "eyJ4IjoxfQ:1:1"])
    @pytest.mark.parametrize("name", LISTS)
    def test_garbage(self, call: Api, name: str, cursor: str) -> None:
        problem = call("admin").get(f"{name}?cursor={cursor}").json()
        assert (problem["status"], problem["code"]) == (400, "invalid_cursor")

    def test_a_cursor_of_another_list(self, world: World, call: Api) -> None:
        cursor = urlsplit(call("owner").get("vms?limit=1").json()["next"]).query
        assert call("owner").get(f"operations?{cursor}").json()["code"] == "invalid_cursor"

    def test_a_cursor_of_another_tenant_shows_no_more(self, world: World, call: Api) -> None:
        cursor = urlsplit(call("owner").get("vms?limit=1").json()["next"]).query
        seen = {vm["tenant"] for vm in call("foreign").get(f"vms?{cursor}").json()["results"]}
        assert seen <= {"beta"}

    @pytest.mark.parametrize("limit", ["0", "-1", "101", "1000000000", "x", "1.5", "", "１２", "%00"])
    @pytest.mark.parametrize("name", LISTS)
    def test_bad_limits(self, call: Api, name: str, limit: str) -> None:
        problem = call("admin").get(f"{name}?limit={limit}").json()
        assert (problem["status"], problem["code"]) == (400, "invalid_limit")


def queries(program: Caller, path: str) -> int:
    program.get(path)  # what a token's first use writes is not the list's
    with CaptureQueriesContext(connection) as captured:
        assert program.get(path).status_code == 200
    return len(captured)


@pytest.mark.parametrize("person", ["owner", "admin"])
@pytest.mark.parametrize("name", ["vms", "operations", "events", "quotas", "tenants"])
def test_constant_number_of_queries(world: World, call: Api, name: str, person: str) -> None:
    program = call(person)
    few = queries(program, f"{name}?limit=100")
    for number in range(300):
        vm = world.vm(f"vm-{number}")
        if number % 5 == 0:
            world.operation(vm)
    assert Operation.objects.unscoped("test").count() > 60
    assert queries(program, f"{name}?limit=100") == few
    assert few <= 8


def test_links_never_come_from_the_host_header(world: World, call: Api) -> None:
    url = call("owner").get("vms?limit=1", Host="localhost:1234").json()["next"]
    assert url.startswith(settings.PUBLIC_URL)
    assert call("owner").get("vms", Host="evil.example").status_code == 400


@pytest.mark.parametrize("name", LISTS)
def test_an_unknown_parameter_is_called_one(world: World, call: Api, name: str) -> None:
    problem = call("admin").get(f"{name}?colour=blue").json()
    assert problem["errors"] == [
        {"field": "colour", "code": "unknown_parameter", "detail": "There is no such parameter."}
    ]
