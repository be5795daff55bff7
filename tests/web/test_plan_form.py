"""What a form would come to, beside it while it is filled in."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal.billing.services import NewPrice, create_book
from portal.quotas.models import Quota
from portal.tenancy.gate import SYSTEM
from tests.web.conftest import Browser
from tests.world import SSH_KEY, World
from vms.models import VM, Plan

CREATE = "/t/acme/vms/create/plan/"


@pytest.fixture
def owner(browser: Browser) -> Client:
    return browser("owner")


@pytest.fixture
def priced(world: World) -> None:
    prices = [NewPrice("vcpu", Decimal("0.01")), NewPrice("vcpu-off", Decimal("0.004"))]
    since = timezone.now() - timedelta(days=1)
    create_book(actor=SYSTEM, name="Prices", currency="EUR", since=since, prices=prices)


def body(world: World, **more: Any) -> dict[str, Any]:
    return {"name": "new", "image": str(world.image.pk), "flavor": str(world.flavor.pk), "new_key": SSH_KEY, **more}


def words(answer: Any) -> str:
    text = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))
    return text.replace("\u202f", " ")


def test_a_new_machine(world: World, owner: Client, priced: None) -> None:
    before = VM.objects.unscoped("test").count()
    answer = owner.post(CREATE, body(world))
    assert answer.status_code == 200
    said = words(answer)
    assert "+7.30 EUR a month" in said
    assert "+0.01 EUR an hour" in said
    assert "VMs 4 → 5 of 10" in said
    assert VM.objects.unscoped("test").count() == before
    assert not Plan.objects.unscoped("test").exists()
    assert not world.people["owner"].ssh_keys.exists(), "a key that is pasted is remembered when the machine is made"


def test_why_not_and_what_would_do(world: World, owner: Client) -> None:
    Quota.objects.filter(tenant=world.acme).update(vcpus=5)
    answer = owner.post(CREATE, body(world, flavor=str(world.large.pk)))
    assert "vCPU quota reached: 4 of 5 used, this needs 2 more." in words(answer)
    assert "What would do: Small." in words(answer)
    assert 'href="/t/acme/quota/"' in answer.content.decode()


def test_what_is_not_filled_in_yet(world: World, owner: Client) -> None:
    answer = owner.post(CREATE, body(world, name=""))
    assert answer.status_code == 422
    assert "Fill in the form" in words(answer)


def test_a_larger_size_a_clone_and_the_end(world: World, owner: Client, priced: None) -> None:
    cold = world.machines["cold"]
    url = f"/t/acme/vms/{cold.pk}/plan/"
    said = words(owner.post(url, {"intent": "resize", "flavor": str(world.large.pk)}))
    assert "+2.92 EUR a month" in said
    assert "cannot shrink again" in said
    assert "VMs" not in said, "what does not change is left out"
    assert "VMs 4 → 5" in words(owner.post(url, {"intent": "clone", "name": "copy", "mode": "linked"}))
    assert owner.post(url, {"intent": "rename"}).status_code == 422
    assert "then it is gone, with its disk" in words(owner.post(url, {"intent": "delete"}))
    assert "−2.92 EUR a month" in words(owner.post(url, {"intent": "delete", "purge": "on"}))


def test_the_forms_ask(world: World, owner: Client) -> None:
    assert f'data-plan="{CREATE}"' in owner.get("/t/acme/vms/create/").content.decode()
    settings = owner.get(f"/t/acme/vms/{world.machines['cold'].pk}/settings/").content.decode()
    assert settings.count("data-plan=") == settings.count("data-plan-shown") == 3
