"""A changing call that is sent again with its Idempotency-Key acts once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from portal.api.models import KeptAnswer
from portal.core.cache import ForgivingRedisCache
from tests.matrix import PIECES, ROUTES, who_may
from tests.test_matrix import covered
from tests.world import Caller, World, make_world
from vms.models import VM
from vms.services import create

Api = Callable[..., Caller]
NEW = {"name": "new", "image": "tiny", "flavor": "small"}
CHANGES = [
    pytest.param(route, method, id=f"{method} {route}")
    for route, entry in ROUTES.items()
    for method in entry.methods
    if method != "GET" and (route, method) != PIECES
]


def machines() -> int:
    return VM.objects.unscoped("test").filter(name="new").count()


class TestReplay:
    def test_the_first_answer_again(self, call: Api) -> None:
        first = call("owner").post("vms", NEW, Idempotency_Key="k1")
        again = call("owner").post("vms", NEW, Idempotency_Key="k1")
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert again["Location"] == first["Location"]
        assert again["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        assert machines() == 1

    @pytest.mark.parametrize(("route", "method"), CHANGES)
    def test_every_changing_call(self, world: World, route: str, method: str) -> None:
        entry = ROUTES[route]
        call = entry.methods[method]
        path, body, program = entry.path(world), call.body(world) if call.body else None, world.caller(who_may(call))
        first = program.request(method, path, body, Idempotency_Key="key")
        assert first.status_code < 300, first.content
        again = program.request(method, path, body, Idempotency_Key="key")
        assert again["Idempotent-Replayed"] == "true"
        assert again.status_code == first.status_code
        assert again.headers.get("Location") == first.headers.get("Location")

    @pytest.mark.parametrize("route", [route for route, view in covered().items() if hasattr(view, "cls")])
    def test_no_changing_route_goes_without(self, world: World, route: str) -> None:
        """Whatever the URLconf has: a key that cannot be is refused before anything is done."""
        view, path, program = covered()[route].cls, ROUTES[route].path(world), world.caller("admin")
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            if not hasattr(view, method.lower()) or (route, method) == PIECES:
                continue
            problem = program.request(method, path, Idempotency_Key="x" * 256).json()
            assert (problem["status"], problem["code"]) == (400, "invalid_idempotency_key")
            assert problem["errors"][0]["field"] == "Idempotency-Key"
            assert "Idempotency-Key" in problem["detail"]

    def test_another_body_is_refused(self, call: Api) -> None:
        call("owner").post("vms", NEW, Idempotency_Key="k1")
        problem = call("owner").post("vms", {**NEW, "name": "other"}, Idempotency_Key="k1").json()
        assert (problem["status"], problem["code"]) == (422, "idempotency_mismatch")

    def test_another_address_is_refused(self, world: World, call: Api) -> None:
        call("owner").post("vms", NEW, Idempotency_Key="k1")
        path = f"vms/{world.machines['web'].pk}/actions/stop"
        assert call("owner").post(path, NEW, Idempotency_Key="k1").status_code == 422

    def test_keys_are_ones_own(self, call: Api) -> None:
        call("owner").post("vms", NEW, Idempotency_Key="k1")
        answer = call("foreign").post("vms", NEW, Idempotency_Key="k1")
        assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (202, False)

    def test_a_narrower_token_gets_no_answer_of_a_wider_one(self, world: World, call: Api) -> None:
        call("admin").post("vms", {**NEW, "tenant": "acme"}, Idempotency_Key="k1")
        narrow = world.caller("admin", tenant_id=world.beta.pk)
        answer = narrow.post("vms", {**NEW, "tenant": "acme"}, Idempotency_Key="k1")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "tenant")

    def test_a_token_without_the_scope_gets_none(self, world: World, call: Api) -> None:
        call("owner").post("vms", NEW, Idempotency_Key="k1")
        assert world.caller("owner", scopes=["vm:read"]).post("vms", NEW, Idempotency_Key="k1").status_code == 403

    def test_after_a_day_it_is_forgotten(self, call: Api) -> None:
        call("owner").post("tokens", {"name": "a", "scopes": ["vm:read"]}, Idempotency_Key="k1")
        KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
        answer = call("owner").post("vms", NEW, Idempotency_Key="k1")
        assert answer.status_code == 202
        assert KeptAnswer.objects.count() == 1

    def test_a_refusal_frees_the_key(self, call: Api) -> None:
        assert call("owner").post("vms", {**NEW, "flavor": "none"}, Idempotency_Key="k1").status_code == 400
        assert call("owner").post("vms", NEW, Idempotency_Key="k1").status_code == 202

    @pytest.mark.parametrize("key", ["", "x" * 256, "x" * 10_000, "ü", "a\tb", "a\x7f"])
    def test_bad_keys(self, call: Api, key: str) -> None:
        problem = call("owner").post("vms", NEW, Idempotency_Key=key).json()
        assert (problem["status"], problem["code"]) == (400, "invalid_idempotency_key")
        assert machines() == 0

    def test_reads_have_none(self, call: Api) -> None:
        assert call("owner").get("vms", Idempotency_Key="k1").status_code == 200
        assert not KeptAnswer.objects.exists()

    def test_a_secret_is_not_kept(self, call: Api) -> None:
        wanted = {"name": "a", "scopes": ["vm:read"]}
        first = call("owner").post("tokens", wanted, Idempotency_Key="k1").json()
        again = call("owner").post("tokens", wanted, Idempotency_Key="k1").json()
        assert again == {**first, "secret": None}
        assert first["secret"] not in KeptAnswer.objects.get().body


@pytest.mark.django_db(transaction=True)
class TestInFlight:
    def test_a_second_call_is_told_to_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = make_world()
        program, began, go_on = world.caller("owner"), threading.Event(), threading.Event()
        resolve = create.resolve_tenant

        def slowly(*args: Any, **kwargs: Any) -> Any:
            began.set()
            assert go_on.wait(20)
            return resolve(*args, **kwargs)

        monkeypatch.setattr(create, "resolve_tenant", slowly)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(post, program, "k1")
            assert began.wait(20)
            second = program.post("vms", NEW, Idempotency_Key="k1")
            go_on.set()
            assert first.result().status_code == 202
        assert (second.status_code, second.json()["code"]) == (409, "idempotency_in_flight")
        assert program.post("vms", NEW, Idempotency_Key="k1")["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize("cache_is_there", [True, False])
    def test_many_at_once_have_one_effect(self, cache_is_there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the cache they wait for the database, and all get the first answer."""
        if not cache_is_there:
            monkeypatch.setattr("portal.api.idempotency.cache", cache_at("/nowhere/redis.sock", monkeypatch))
        program = make_world().caller("owner")
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: post(program, "k1"), range(6)))
        statuses = sorted(answer.status_code for answer in answers)
        assert set(statuses) <= ({202, 409} if cache_is_there else {202})
        accepted = [answer.json() for answer in answers if answer.status_code == 202]
        assert accepted
        assert all(body == accepted[0] for body in accepted)
        assert machines() == 1

    def test_a_cache_that_hangs_costs_one_wait(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = make_world().caller("owner")
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(tmp_path / "redis.sock"))
            silent.listen()
            monkeypatch.setattr("portal.api.idempotency.cache", cache_at(str(tmp_path / "redis.sock"), monkeypatch))
            began = time.monotonic()
            first, again = (program.post("vms", NEW, Idempotency_Key="k1") for _ in range(2))
            assert 0.5 < time.monotonic() - began < 2
        assert first.status_code == 202
        assert again.json() == first.json()
        assert machines() == 1

    def test_a_cache_that_was_flushed_changes_nothing(self) -> None:
        program = make_world().caller("owner")
        first = program.post("vms", NEW, Idempotency_Key="k1")
        cache.clear()
        assert program.post("vms", NEW, Idempotency_Key="k1").json() == first.json()
        assert machines() == 1

    def test_a_crash_frees_the_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        program = make_world().caller("owner")
        with monkeypatch.context() as patch:
            patch.setattr("vms.services.create.resolve_tenant", _away)
            assert program.post("vms", NEW, Idempotency_Key="k1").status_code == 500
        assert program.post("vms", NEW, Idempotency_Key="k1").status_code == 202


def post(program: Caller, key: str) -> Any:
    try:
        return program.post("vms", NEW, Idempotency_Key=key)
    finally:
        connection.close()


def cache_at(path: str, monkeypatch: pytest.MonkeyPatch) -> ForgivingRedisCache:
    monkeypatch.setattr(ForgivingRedisCache, "_away_until", 0.0)
    return ForgivingRedisCache(f"unix://{path}", {"OPTIONS": {"socket_timeout": 0.5}})


def _away(*args: Any, **kwargs: Any) -> Any:
    raise ConnectionError("it breaks")
