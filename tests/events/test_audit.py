"""The audit page, its conditions and its files; and what changed, in words."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal.events import export, log
from portal.events.models import Event
from portal.quotas.services import set_limits
from portal.tenancy import services
from portal.tenancy.gate import SYSTEM, actor_for
from portal.web.presenters.event import changes
from tests.world import World

PAGE, EXPORT = "/provider/audit/", "/provider/audit/export/"


@pytest.fixture
def admin(world: World) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(world.people["admin"])
    return client


@pytest.fixture(autouse=True)
def history(world: World) -> None:
    """Beside what the world's making left in the log."""
    services.rename_tenant(actor=actor_for(world.people["admin"], source="UI"), tenant=world.beta, name="Beta two")
    set_limits(actor=SYSTEM, tenant=world.acme, limits={"memory_mib": 1024, "vms": None})


def kinds(answer: Any) -> list[str]:
    return [row.kind for row in answer.context["events"]]


def read(client: Client, **query: str) -> str:
    return b"".join(client.get(EXPORT, query)).decode()


class TestConditions:
    def test_all_newest_first(self, admin: Client) -> None:
        assert kinds(admin.get(PAGE))[:2] == ["quota.changed", "tenant.renamed"]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ({"actor": "admin"}, ["tenant.renamed"]),
            ({"actor": "adm"}, []),
            ({"kind": "quota"}, ["quota.changed"]),
            ({"kind": "quota.changed"}, ["quota.changed"]),
            ({"kind": "quot"}, []),
            ({"kind": "tenant", "tenant": "beta"}, ["tenant.renamed", "tenant.created"]),
            ({"kind": "%"}, []),
            ({"until": "2001-01-01T00:00"}, []),
            ({"since": "2101-01-01 00:00:00"}, []),
        ],
    )
    def test_each(self, admin: Client, query: dict[str, str], expected: list[str]) -> None:
        answer = admin.get(PAGE, query)
        assert answer.status_code == 200
        assert kinds(answer) == expected

    def test_times_are_from_and_before(self, admin: Client) -> None:
        now = timezone.now()
        Event.objects.bulk_create(
            Event(kind=f"x.{hours}", target_id=SYSTEM_ID, actor="system", source="system") for hours in range(3)
        )
        since, until = now - timedelta(hours=1), now + timedelta(hours=1)
        form = "%Y-%m-%dT%H:%M:%S"
        assert len(kinds(admin.get(PAGE, {"kind": "x", "since": since.strftime(form)}))) == 3
        assert kinds(admin.get(PAGE, {"kind": "x", "since": until.strftime(form)})) == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("since", "yesterday"), ("until", "9" * 400), ("tenant", "no-such"), ("tenant", "x" * 64)),
            *(("actor", "x" * 151), ("kind", "x" * 61), ("kind", "\x00"), ("since", "0000-00-00T00:00")),
        ],
    )
    def test_nonsense_is_said_at_its_field(self, admin: Client, name: str, value: str) -> None:
        answer = admin.get(PAGE, {name: value})
        assert answer.status_code == 422
        assert answer.context["form"].errors[name]
        assert admin.get(EXPORT, {name: value}).status_code == 400

    def test_pages_keep_the_conditions(self, world: World, admin: Client) -> None:
        for _ in range(25):
            log.record("x.y", actor=SYSTEM, target=world.acme)
        first = admin.get(PAGE, {"kind": "x"})
        assert len(kinds(first)) == 20
        assert len(kinds(admin.get(first.context["page"].next_url))) == 5

    def test_the_api_has_them_too(self, world: World) -> None:
        def told(query: str) -> list[str]:
            return [row["kind"] for row in world.caller("auditor").get(f"events?{query}").json()["results"]]

        assert told("actor=admin") == ["tenant.renamed"]
        assert told("kind=quota") == ["quota.changed"]
        assert told("since=2101-01-01T00:00:00Z") == []
        for nonsense in ("yesterday", "2026-W01", "2026-01-01", "2026-01-01T00:00:00", "٢٠٢٦-01-01T00:00:00Z"):
            assert world.caller("auditor").get(f"events?since={nonsense}").status_code == 400, nonsense
            assert world.caller("auditor").get(f"events?until={nonsense}").status_code == 400, nonsense
        assert world.caller("auditor").get("events?kind=" + "x" * 61).status_code == 400


class TestFiles:
    def test_json_lines(self, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """Oldest first, all of it, whatever a piece holds."""
        monkeypatch.setattr(export, "PIECE", 2)
        answer = admin.get(EXPORT, {"format": "jsonl"})
        rows = [json.loads(line) for line in b"".join(answer).decode().splitlines()]
        assert [row["id"] for row in rows] == sorted(Event.objects.unscoped("test").values_list("pk", flat=True))
        assert rows[-1]["data"]["after"]["memory_mib"] == 1024
        assert (rows[-2]["actor"], rows[-2]["source"], rows[-2]["tenant"]) == ("admin", "UI", "beta")
        assert answer["Content-Disposition"] == 'attachment; filename="berth-audit.jsonl"'

    def test_csv(self, world: World, admin: Client) -> None:
        world.acme.name = '=HYPERLINK("http://evil")'
        log.record("x.y", actor=SYSTEM, target=world.acme, words="a,b\n'c'")
        text = read(admin, format="csv", kind="x")
        (row,) = csv.DictReader(io.StringIO(text))
        assert row["target_name"] == '\'=HYPERLINK("http://evil")'
        assert json.loads(row["data"]) == {"words": "a,b\n'c'"}

    def test_of_nothing(self, admin: Client) -> None:
        assert read(admin, format="jsonl", kind="none") == ""
        assert read(admin, format="csv", kind="none").startswith("id,at,kind")

    def test_there_are_two(self, admin: Client) -> None:
        assert admin.get(EXPORT, {"format": "xlsx"}).status_code == 400


class TestWords:
    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [
            ({"name": "web"}, {"name": "www"}, "name web → www"),
            ({"memory_mib": 512, "vms": 3}, {"memory_mib": 1024, "vms": 3}, "memory 512 MiB → 1 GiB"),
            ({"disk_gib": 5}, {"disk_gib": None}, "disk 5 GiB → no limit"),
            ({"protected": False}, {"protected": True}, "protected no → yes"),
            ({"provider_role": ""}, {"provider_role": "admin"}, "rights across tenants none → admin"),
            (None, {"role": "viewer"}, "role viewer"),
            ({"role": "viewer"}, None, "role viewer"),
            (None, {"scopes": ["vm:read", "vm:write"]}, "scopes vm:read, vm:write"),
            ({}, {}, ""),
            (None, None, ""),
        ],
    )
    def test_before_and_after(self, before: Any, after: Any, words: str) -> None:
        assert changes(before, after).replace("\u202f", " ") == words

    def test_the_pages_say_it(self, admin: Client) -> None:
        for page in (PAGE, "/t/acme/activity/"):
            text = admin.get(page).content.decode().replace("\u202f", " ")
            assert "VMs 10 → no limit" in text
            assert "→ 1 GiB" in text
        assert "name Beta → Beta two" in admin.get("/t/beta/activity/").content.decode()


SYSTEM_ID = "01900000-0000-7000-8000-000000000000"
