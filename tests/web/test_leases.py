"""Leases on pages: what is shown, and the one click."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from tests.world import World
from vms.models import VM

Browser = Callable[[str], Client]
MACHINE = "/t/acme/vms/{}/"


def page(world: World, person: Client, tail: str = "") -> str:
    answer = person.get(MACHINE.format(world.machines["web"].pk) + tail)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_machine_without_one_says_nothing_of_leases(world: World, browser: Browser) -> None:
    assert "Lease" not in page(world, browser("owner"))


def test_far_from_its_end_it_is_a_fact(world: World, browser: Browser) -> None:
    world.leased("web", days=20.1)
    shown = page(world, browser("owner"))
    assert "in 20 days" in shown
    assert "Its lease" not in shown
    assert "in 20 days" in browser("owner").get("/t/acme/vms/").content.decode()


def test_near_its_end_it_says_what_comes_and_what_it_did(world: World, browser: Browser) -> None:
    world.leased("web", days=5, lease_stage="warned", lease_since=timezone.now())
    shown = page(world, browser("owner"))
    assert "Its lease ends soon" in shown
    assert "unless somebody extends" in shown
    assert "nobody opened its console" in shown


def test_one_click(world: World, browser: Browser) -> None:
    since = timezone.now() - timedelta(hours=1)
    world.leased("web", days=-1, lease_stage="kept", lease_since=since)
    owner = browser("owner")
    assert "lease ended" in owner.get("/t/acme/vms/").content.decode()
    assert "Its lease has ended; extend it first." not in page(world, browser("viewer"))  # the role comes first
    answer = owner.post(MACHINE.format(world.machines["web"].pk) + "extend/", {"next": "list"})
    assert (answer.status_code, answer["Location"]) == (302, "/t/acme/vms/")
    vm = VM.objects.unscoped("test").get(pk=world.machines["web"].pk)
    assert vm.lease_stage == "running"
    assert vm.expires_at is not None
    assert vm.expires_at > timezone.now() + timedelta(days=29)


def test_a_date_is_set_when_it_is_created(world: World, browser: Browser) -> None:
    day = (timezone.now() + timedelta(days=9)).date()
    body = {"name": "brief", "image": str(world.image.pk), "flavor": str(world.flavor.pk)}
    assert browser("owner").post("/t/acme/vms/create/", {**body, "expires_at": str(day)}).status_code == 302
    made = VM.objects.unscoped("test").get(name="brief")
    assert made.expires_at is not None
    assert (made.expires_at.date(), made.expires_at.hour) == (day, 0)


def test_a_date_that_is_too_near_is_the_fields_error(world: World, browser: Browser) -> None:
    body = {"name": "brief", "image": str(world.image.pk), "flavor": str(world.flavor.pk)}
    for wrong in (str(timezone.now().date()), "tomorrow", "2026-02-30"):
        answer = browser("owner").post("/t/acme/vms/create/", {**body, "expires_at": wrong})
        assert answer.status_code == 422
        assert 'id="id_expires_at_error"' in answer.content.decode()


def test_settings_set_and_remove_it(world: World, browser: Browser) -> None:
    owner, day = browser("owner"), (timezone.now() + timedelta(days=9)).date()
    path = MACHINE.format(world.machines["web"].pk) + "settings/"
    assert owner.post(path, {"intent": "lease", "expires_at": str(day)}).status_code == 302
    assert f'value="{day}"' in owner.get(path).content.decode()
    assert owner.post(path, {"intent": "lease", "expires_at": ""}).status_code == 302
    assert VM.objects.unscoped("test").get(pk=world.machines["web"].pk).expires_at is None


def test_a_policy_of_the_provider(world: World, browser: Browser) -> None:
    path = "/provider/tenants/acme/leases/"
    wanted = {"demand": "demanded", "longest_days": "14", "warn_days": "3", "off_days": "1"}
    assert browser("admin").post(path, wanted).status_code == 302
    assert 'value="14"' in browser("admin").get(path).content.decode()
    assert browser("admin").post(path, {**wanted, "longest_days": "0"}).status_code == 422
    assert not VM.objects.unscoped("test").filter(tenant=world.acme, expires_at=None).exists()
