"""Webhooks and the feed as programs use them; who may is in tests/matrix.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from portal.events import log
from portal.events.models import Event
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
from portal.webhooks import services
from portal.webhooks.models import Webhook
from tests.world import PASSWORD, Caller, World

HOOK = "https://hooks.example.org/berth?key=canary-of-the-address"
Call = Callable[..., Caller]


def test_the_secret_is_shown_once(world: World, call: Call) -> None:
    made = call("owner").post("webhooks", {"url": HOOK}, Idempotency_Key="one")
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    assert call("owner").post("webhooks", {"url": HOOK}, Idempotency_Key="one").status_code == 201
    shown = call("owner").get(f"webhooks/{made.json()['id']}").json()
    assert "secret" not in shown
    assert (shown["tenant"], shown["name"], shown["status"]) == ("acme", "hooks.example.org", "active")
    rotated = call("owner").post(f"webhooks/{shown['id']}/actions/rotate", {}).json()
    assert rotated["secret"] != secret
    assert rotated["previous_secret_until"] is not None
    kept = str(list(Event.objects.unscoped("test").values())) + str(list(Webhook.objects.unscoped("test").values()))
    assert secret not in kept
    assert rotated["secret"] not in kept
    assert "canary" not in str(list(Event.objects.unscoped("test").values()))


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"url": "http://hooks.example.org/"}, "url", "url_not_allowed"),
        ({"url": "https://127.0.0.1/"}, "url", "url_not_allowed"),
        ({"url": "https://[::ffff:169.254.169.254]/"}, "url", "url_not_allowed"),
        ({"url": "https://hooks.example.org:6379/"}, "url", "url_not_allowed"),
        ({"url": HOOK, "kinds": ["vm%"]}, "kinds", "invalid"),
        ({"url": HOOK, "kinds": ["x" * 61]}, "kinds.0", "max_length"),
        ({"url": HOOK, "kinds": "vm"}, "kinds", "not_a_list"),
        ({"url": HOOK, "name": "a\u202eb"}, "name", "invalid_name"),
        ({"url": HOOK, "tenant": "beta"}, "tenant", "unknown_reference"),
        ({}, "url", "required"),
    ],
)
def test_what_is_refused(world: World, call: Call, body: dict[str, Any], field: str, code: str) -> None:
    answer = call("owner").post("webhooks", body)
    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


def test_there_are_not_too_many(world: World, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST_PER_TENANT", 1)
    assert call("owner").post("webhooks", {"url": HOOK}).status_code == 201
    answer = call("owner").post("webhooks", {"url": HOOK})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhooks")
    assert call("admin").post("webhooks", {"url": HOOK}).json()["tenant"] is None


def test_states(world: World, call: Call) -> None:
    path = f"webhooks/{world.webhook().pk}/actions"
    assert call("owner").post(f"{path}/enable").json()["code"] == "wrong_state"
    disabled = call("owner").post(f"{path}/disable").json()
    assert (disabled["status"], disabled["disabled_for"]) == ("disabled", "owner disabled it.")
    assert call("owner").post(f"{path}/test").json()["code"] == "wrong_state"
    assert call("owner").post(f"{path}/replay", {"after": 10**9}).json()["errors"][0]["field"] == "after"
    assert call("owner").post(f"{path}/enable").json()["status"] == "active"


class TestFeed:
    def test_oldest_first_and_whole(self, world: World, call: Call) -> None:
        for n in range(5):
            log.record("vm.counted", actor=SYSTEM, target=world.machines["web"], n=n)
        found, url = [], "events?after=0&limit=2"
        while url:
            page = call("owner").get(url).json()
            found += page["results"]
            url = page["next"] and page["next"].partition("8000")[2]
        own = Event.objects.unscoped("test").filter(tenant=world.acme).order_by("pk")
        assert [event["id"] for event in found] == list(own.values_list("pk", flat=True))
        sequences = [event["sequence"] for event in found]
        assert sequences == sorted(set(sequences))
        rest = call("owner").get(f"events?after={sequences[-2]}").json()["results"]
        assert [event["sequence"] for event in rest] == sequences[-1:]
        assert call("owner").get(f"events?after={sequences[-1]}").json() == {"results": [], "next": None}

    def test_its_conditions(self, world: World, call: Call) -> None:
        log.record("vm.counted", actor=SYSTEM, target=world.machines["web"])
        log.record("vm.counted", actor=SYSTEM, target=world.machines["foreign"])
        for query, tenants in (("", ["acme", "beta"]), ("&tenant=acme", ["acme"])):
            found = call("admin").get(f"events?after=0&kind=vm.counted{query}").json()["results"]
            assert [event["tenant"] for event in found] == tenants
        target = world.machines["web"].pk
        assert len(call("owner").get(f"events?after=0&target={target}&kind=vm.counted").json()["results"]) == 1
        assert len(call("foreign").get("events?after=0&kind=vm.counted").json()["results"]) == 1

    @pytest.mark.parametrize("after", ["-1", "x", "1.0", "", "²", "9" * 17])
    def test_what_is_no_place(self, world: World, call: Call, after: str) -> None:
        answer = call("owner").get(f"events?after={after}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "after")


class TestByExternalId:
    def test_said_again_it_does_nothing(self, world: World, call: Call) -> None:
        wanted = {"name": "Gamma", "slug": "gamma", "quota": {"vms": 3, "vcpus": None}}
        made = call("admin").put("tenants/by-external-id/crm:7", wanted)
        assert made.status_code == 201, made.content
        assert (made.json()["slug"], made.json()["limits"]["vms"]) == ("gamma", 3)
        before = Event.objects.unscoped("test").count()
        again = call("admin").put("tenants/by-external-id/crm:7", wanted)
        assert (again.status_code, again.json()) == (200, made.json())
        assert Event.objects.unscoped("test").count() == before
        assert call("auditor").get("tenants/by-external-id/crm:7").json() == made.json()
        assert Tenant.objects.unscoped("test").filter(slug="gamma").count() == 1

    def test_what_differs_is_changed(self, world: World, call: Call) -> None:
        changed = call("admin").put("tenants/by-external-id/crm:1", {"name": "Acme Inc.", "quota": {"vms": 1}}).json()
        assert (changed["name"], changed["limits"]["vms"], changed["limits"]["vcpus"]) == ("Acme Inc.", 1, 20)

    @pytest.mark.parametrize(
        ("id", "body", "status", "code"),
        [
            ("crm:8", {"name": "New"}, 400, "required"),
            ("crm:8", {"name": "New", "slug": "acme"}, 409, "duplicate"),
            ("crm:1", {"slug": "other"}, 409, "slug_fixed"),
            ("crm:1", {"quota": {"cows": 1}}, 400, "unknown_field"),
            ("crm:1", {"quota": {"vms": -1}}, 400, "min_value"),
            ("a b", {"name": "New", "slug": "new"}, 404, "not_found"),
        ],
    )
    def test_refusals(self, world: World, call: Call, id: str, body: dict[str, Any], status: int, code: str) -> None:
        answer = call("admin").put(f"tenants/by-external-id/{id}", body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


class TestPages:
    @pytest.fixture
    def browser(self, world: World, client: Client) -> Callable[[str], Client]:
        def as_person(name: str) -> Client:
            client.login(username=name, password=PASSWORD)
            return client

        return as_person

    def test_from_adding_to_deleting(self, world: World, browser: Callable[[str], Client]) -> None:
        owner = browser("owner")
        added = owner.post("/t/acme/webhooks/", {"url": HOOK, "kinds": "vm, quota"})
        assert added.status_code == 201
        assert "whsec_" in added.content.decode()
        webhook = Webhook.objects.unscoped("test").get()
        assert webhook.kinds == ["quota", "vm"]
        page = f"/webhooks/{webhook.pk}/"
        assert "hooks.example.org" in owner.get("/t/acme/webhooks/").content.decode()
        assert "Nothing sent yet" in owner.get(page).content.decode()
        assert "whsec_" not in owner.get(page).content.decode()
        assert "whsec_" in owner.post(f"{page}rotate/", {"overlap_hours": "24"}).content.decode()
        for action in ("test", "disable", "enable"):
            assert owner.post(f"{page}{action}/").status_code == 302
        assert owner.post(f"{page}replay/", {"after": "0"}).status_code == 302
        assert owner.post(f"{page}replay/", {"after": str(10**9)}).status_code == 422
        changed = {"url": "https://other.example.org/", "name": "", "kinds": ""}
        assert owner.post(f"{page}change/", changed).status_code == 302
        assert owner.post(f"{page}change/", {"url": "https://127.0.0.1/"}).status_code == 422
        webhook.refresh_from_db(from_queryset=Webhook.objects.unscoped("test"))
        assert (webhook.url, webhook.kinds, webhook.cursor) == ("https://other.example.org/", [], 0)
        assert owner.post(f"{page}delete/").status_code == 302
        assert owner.get(page).status_code == 404

    def test_sending_again(self, world: World, browser: Callable[[str], Client]) -> None:
        delivery, page = world.delivery(), f"/webhooks/{world.webhook().pk}/"
        owner = browser("owner")
        assert "It answered 500." in owner.get(page).content.decode()
        assert owner.post(f"{page}deliveries/{delivery.pk}/resend/").status_code == 302
        assert "to be sent again" in owner.get(page).content.decode()

    def test_the_providers(self, world: World, browser: Callable[[str], Client]) -> None:
        world.webhook()
        admin = browser("admin")
        assert "billing" in admin.get("/provider/webhooks/").content.decode()
        assert admin.post("/provider/webhooks/", {"url": HOOK}).status_code == 201
        assert Webhook.objects.unscoped("test").filter(tenant=None).count() == 1

    @pytest.mark.parametrize(
        ("person", "statuses"),
        [("viewer", (403, 403, 403, 403)), ("foreign", (404, 404, 403, 404)), ("auditor", (200, 200, 200, 403))],
    )
    def test_who_may(self, world: World, browser: Callable[[str], Client], person: str, statuses: Any) -> None:
        page, someone = f"/webhooks/{world.webhook().pk}/", browser(person)
        got = [someone.get(url).status_code for url in ("/t/acme/webhooks/", page, "/provider/webhooks/")]
        assert (*got, someone.post(f"{page}disable/").status_code) == statuses
