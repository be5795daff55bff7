"""A form that is sent twice acts once: by a double click, a reload, or by going back and sending it again."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.messages import get_messages
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from portal.accounts.models import ApiToken, SshKey, User
from portal.api import kept, tasks
from portal.api.models import KeptAnswer
from portal.core.ids import uuid7
from portal.events.models import Event
from portal.operations.models import Operation
from portal.tenancy.models import Membership, Tenant
from portal.web.once import FIELD
from tests.web.addresses import PAGES
from tests.web.conftest import Browser
from tests.world import World, make_world
from vms.models import VM

FORM = re.compile(r"<form\b[^>]*method=\"post\".*?</form>", re.DOTALL | re.IGNORECASE)
# They do nothing twice: what allauth's views do is done by then, and an invitation is taken once.
WITHOUT_KEY = ("login.html", "logout.html", "password_change.html", "base.html", "invitation.html")
OF_ALLAUTH = ("account", "mfa", "socialaccount", "usersessions")
# Anew for each connection, and for each change of a form; plans act not at all.
ASKED_BY_SCRIPTS = ("vm-console-ticket", "vm-create-plan", "vm-plan")
POSTS = [
    pytest.param(name, post, id=f"{name} {post}".strip())
    for name, page in PAGES.items()
    for post in page.posts
    if name not in ASKED_BY_SCRIPTS
]
KEY = re.compile(rf'name="{FIELD}" value="([^"]+)"')


def counts() -> dict[str, int]:
    """Everything that a form may make or write down."""
    unscoped = {model.__name__: model.objects.unscoped("test").count() for model in (VM, Operation, Event, Tenant)}
    return unscoped | {model.__name__: model.objects.count() for model in (ApiToken, SshKey, User, Membership)}


def notices(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


@pytest.mark.parametrize("path", sorted(settings.BASE_DIR.glob("templates/**/*.html")), ids=lambda path: path.name)
def test_every_form_carries_a_key(path: Path) -> None:
    is_of_allauth = not {*path.relative_to(settings.BASE_DIR / "templates").parts}.isdisjoint(OF_ALLAUTH)
    if path.name not in WITHOUT_KEY and not is_of_allauth:
        assert all("{% once_key %}" in form for form in FORM.findall(path.read_text()))


def test_keys_are_new_in_each_page(browser: Browser) -> None:
    owner = browser("owner")
    found = [key for _ in range(2) for key in KEY.findall(owner.get("/t/acme/vms/").content.decode())]
    assert len(found) > 4
    assert len(set(found)) == len(found)
    assert all(UUID(key) for key in found)


MEMBERS_OWN = {"member-leave": "member"}  # the last owner may not


@pytest.mark.parametrize(("name", "post"), POSTS)
def test_whatever_is_sent_again_acts_once(world: World, browser: Browser, name: str, post: str) -> None:
    """With the cache flushed in between; each form of each page."""
    page = PAGES[name]
    statuses, body = page.posts[post]
    person = MEMBERS_OWN.get(name) or ("owner" if statuses.split()[3] in ("302", "201") else "admin")
    client, url, sent = browser(person), page.url(name, world), {**body(world), FIELD: str(uuid7())}
    first = client.post(url, sent)
    assert first.status_code in (201, 302), first.content
    after = counts()
    cache.clear()
    again = client.post(url, sent)
    assert again.status_code == 302
    assert again["Location"] == first.get("Location", url)
    assert counts() == after
    assert "carried out once" in notices(again)[-1]


def test_a_form_that_was_changed_means_something_else(world: World, browser: Browser) -> None:
    owner, url, key = browser("owner"), "/t/acme/members/", str(uuid7())
    for role in ("viewer", "member"):
        owner.post(url, {"username": "foreign", "role": role, FIELD: key})
    assert Membership.objects.get(tenant=world.acme, user=world.people["foreign"]).role == "member"


def test_what_was_refused_can_be_sent_again(world: World, browser: Browser) -> None:
    """It says no by leading on with a notice, and is not taken for done."""
    owner, vm = browser("owner"), world.machines["cold"]
    url, sent = f"/t/acme/vms/{vm.pk}/actions/stop/", {FIELD: str(uuid7())}
    assert owner.post(url, sent).status_code == 302
    assert Operation.objects.unscoped("test").filter(target_id=vm.pk).count() == 0
    VM.objects.unscoped("test").filter(pk=vm.pk).update(observed_power="running")
    owner.post(url, sent)
    assert Operation.objects.unscoped("test").filter(target_id=vm.pk).count() == 1


def test_asking_first_is_not_acting(world: World, browser: Browser) -> None:
    owner, vm = browser("owner"), world.machines["cold"]
    sent = {"action": "delete", "vm": [str(vm.pk)], FIELD: str(uuid7())}
    for _ in range(2):
        assert b"Type <strong" in owner.post("/t/acme/vms/bulk/", sent).content
    assert not KeptAnswer.objects.exists()


def test_a_secret_is_kept_nowhere(browser: Browser) -> None:
    owner, sent = browser("owner"), {"name": "backup", "rights": "read", "days": "30", FIELD: str(uuid7())}
    secret = owner.post("/account/tokens/", sent).context["secret"]
    assert secret.startswith("berth_")
    answer = owner.post("/account/tokens/", sent, follow=True)
    assert secret not in answer.content.decode()
    assert "cannot be shown again" in answer.content.decode()
    assert secret not in str(list(KeptAnswer.objects.values()))


def test_keys_are_ones_own(world: World, browser: Browser) -> None:
    sent = {"name": "x", "rights": "read", "days": "30", FIELD: str(uuid7())}
    for person in ("owner", "member"):
        assert browser(person).post("/account/tokens/", sent).status_code == 201


def test_a_key_of_the_api_is_another(world: World, browser: Browser) -> None:
    key = str(uuid7())
    world.caller("owner").post("tokens", {"name": "x", "scopes": ["vm:read"]}, Idempotency_Key=key)
    assert browser("owner").post("/account/tokens/", {"name": "x", "rights": "read", FIELD: key}).status_code == 201


@pytest.mark.parametrize("key", ["", "not-a-uuid", "x" * 10_000, "\x00", "' OR 1=1 --"])
def test_a_damaged_key_has_no_effect(world: World, browser: Browser, key: str) -> None:
    before = counts()
    answer = browser("owner").post("/account/tokens/", {"name": "x", "rights": "read", "days": "30", FIELD: key})
    assert answer.status_code == 400
    assert counts() == before


def test_somebody_elses_machine_stays_unknown(world: World, browser: Browser) -> None:
    url = f"/t/beta/vms/{world.machines['foreign'].pk}/actions/stop/"
    assert browser("owner").post(url, {FIELD: str(uuid7())}).status_code == 404
    assert not KeptAnswer.objects.exists()


def test_nobody_keeps_nothing(client: Client, world: World) -> None:
    assert client.post("/t/acme/members/", {FIELD: str(uuid7())})["Location"].startswith("/accounts/login/")
    assert not KeptAnswer.objects.exists()


def test_after_a_day_it_acts_anew(browser: Browser) -> None:
    owner, sent = browser("owner"), {"name": "x", "rights": "read", "days": "30", FIELD: str(uuid7())}
    owner.post("/account/tokens/", sent)
    KeptAnswer.objects.update(created_at=timezone.now() - kept.KEPT_FOR)
    assert owner.post("/account/tokens/", sent).status_code == 201
    assert ApiToken.objects.filter(name="x").count() == 2


def test_old_answers_are_forgotten_by_the_clock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "BITE", 3)
    for number in range(8):
        KeptAnswer.objects.create(user=world.people["owner"], key=str(number))
    KeptAnswer.objects.exclude(key="7").update(created_at=timezone.now() - kept.KEPT_FOR)
    tasks.forget_kept_answers()
    assert [row.key for row in KeptAnswer.objects.all()] == ["7"]
    schedule = settings.CELERY_BEAT_SCHEDULE["forget-kept-answers"]
    assert schedule["task"] == tasks.forget_kept_answers.name


@pytest.mark.django_db(transaction=True)
def test_many_clicks_at_once() -> None:
    """Each waits for the first, and is led to the one machine."""
    world = make_world()
    sent = {"name": "new", "image": str(world.image.pk), "flavor": str(world.flavor.pk), FIELD: str(uuid7())}
    client = Client()
    client.force_login(world.people["owner"])

    def click(_: int) -> str:
        own = Client()
        own.cookies = client.cookies
        try:
            return str(own.post("/t/acme/vms/create/", sent)["Location"])
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        places = set(pool.map(click, range(6)))
    (vm,) = VM.objects.unscoped("test").filter(name="new")
    assert places == {f"/t/acme/vms/{vm.pk}/"}
