"""Pages and API tell what is known, and no more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hosts.models import Host
from portal.core.units import THIN_SPACE
from portal.events import log
from portal.events.models import Event
from portal.tenancy.gate import actor_for
from portal.web.presenters import event as event_rows
from tests.web.conftest import Browser
from tests.web.test_machines import address, words
from tests.world import World, forget_machines
from vms.models import VM, AffinityGroup, Nic


@pytest.fixture
def owner(browser: Browser) -> Client:
    return browser("owner")


def test_a_machine_that_is_missing_is_in_error_for_the_same_reason_everywhere(world: World, owner: Client) -> None:
    web = world.machines["web"]
    VM.objects.unscoped("test").filter(pk=web.pk).update(is_missing=True)
    told = world.caller("owner").get(f"vms/{web.pk}").json()
    assert told["status"] == "error"
    assert told["error"].startswith("Its host does not know it any more.")
    assert told["error"] in words(owner.get(address(web)))


class TestAddress:
    def running_for(self, world: World, seconds: int, seen: bool) -> None:
        since, now = timezone.now() - timedelta(seconds=seconds), timezone.now()
        VM.objects.unscoped("test").filter(name="web").update(observed_since=since)
        Nic.objects.filter(vm=world.machines["web"]).update(seen_at=now if seen else None)

    def test_one_that_no_guest_took_is_only_reserved(self, world: World, owner: Client) -> None:
        self.running_for(world, 5, seen=False)
        page = words(owner.get(address(world.machines["web"])))
        assert "reserved, not seen yet" in page
        assert "No address yet" not in page
        row = next(row for row in owner.get("/t/acme/vms/").context["rows"] if row.name == "web")
        assert not row.is_address_seen
        assert "not seen yet" in words(owner.get(address(world.machines["web"], "row/")))

    def test_after_a_minute_the_console_is_pointed_at(self, world: World, owner: Client) -> None:
        self.running_for(world, 61, seen=False)
        page = owner.get(address(world.machines["web"]))
        assert "the guest has not taken its address" in words(page)
        assert f'href="{address(world.machines["web"], "console/")}">See in the console' in page.content.decode()

    def test_one_that_the_guest_took_is_a_fact(self, world: World, owner: Client) -> None:
        self.running_for(world, 61, seen=True)
        for tail in ("", "row/"):
            assert "not seen yet" not in words(owner.get(address(world.machines["web"], tail)))
        assert "the guest has not taken" not in words(owner.get(address(world.machines["web"])))


class TestAges:
    def test_an_idle_page_says_what_changed_and_no_more(self, world: World, owner: Client) -> None:
        page = words(owner.get(address(world.machines["web"])))
        assert "Its state changed" in page
        assert "seen just now" not in page

    def test_what_is_old_says_so(self, world: World, owner: Client) -> None:
        Host.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
        assert "its host was seen 5 min ago" in words(owner.get(address(world.machines["web"])))


class TestObservedAt:
    def shown(self, world: World) -> Any:
        return world.caller("owner").get(f"vms/{world.machines['web'].pk}").json()["observed_at"]

    def test_it_is_when_the_host_was_seen(self, world: World) -> None:
        Host.objects.update(seen_at=timezone.now())
        assert self.shown(world) is not None

    def test_a_host_seen_before_its_time_has_not_seen_it(self, world: World) -> None:
        Host.objects.update(seen_at=world.machines["web"].created_at - timedelta(seconds=1))
        assert self.shown(world) is None

    def test_one_being_built_was_not_seen(self, world: World) -> None:
        Host.objects.update(seen_at=timezone.now())
        VM.objects.unscoped("test").filter(name="web").update(lifecycle="building")
        assert self.shown(world) is None


class TestList:
    def test_a_row_that_is_gone_is_no_error(self, world: World, owner: Client, browser: Browser) -> None:
        row = address(world.machines["web"], "row/")
        forget_machines(VM.objects.unscoped("test").filter(name="web"))
        assert owner.get(row).status_code == 204
        assert browser("foreign").get(row).status_code == 404

    @pytest.mark.parametrize("page", ["/t/acme/", "/t/acme/vms/"])
    def test_the_quota_is_fetched_anew(self, world: World, owner: Client, page: str) -> None:
        assert 'data-live="vms operations" data-live-url="/t/acme/quota/meters/"' in owner.get(page).content.decode()
        assert "4 of 10" in words(owner.get("/t/acme/quota/meters/"))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("vm.create.requested", "is to be created"),
        ("vm.force-off.failed", "could not be forced off"),
        ("vm.delete.succeeded", "was moved to the bin"),
        ("vm.resize.cancelled", "was not resized: it was cancelled"),
        ("member.set", "got a member"),
        ("vm.some-thing.done", "some thing done"),
    ],
)
def test_the_log_is_told_in_sentences(kind: str, says: str) -> None:
    (row,) = event_rows.rows([Event(kind=kind, target_name="web", data={})])
    assert row.words == says


@pytest.mark.parametrize(
    ("after", "says", "detail"),
    [
        (
            {"is_live": True, "downtime_ms": 110, "total_ms": 14_000, "sent_bytes": 1024**3},
            "ran on while it was moved",
            "It stood still for 110 ms. 1 GiB were sent in 14 s.",
        ),
        ({"is_live": False}, "was off while it was moved", ""),
    ],
)
def test_a_move_is_told_in_sentences(after: dict[str, Any], says: str, detail: str) -> None:
    (row,) = event_rows.rows([Event(kind="vm.migrated", target_name="web", data={"after": after})])
    assert (row.words, row.detail.replace(THIN_SPACE, " ")) == (says, detail)


def test_the_names_of_the_providers_tokens_are_its_own(world: World, browser: Browser) -> None:
    web = world.machines["web"]
    for person in ("admin", "owner"):
        log.record("vm.renamed", actor=actor_for(world.people[person], source=f"token of-{person}"), target=web)
    pages = (f"/t/acme/vms/{web.pk}/activity/", "/t/acme/activity/", "/t/acme/")
    for url in pages:
        told = words(browser("owner").get(url))
        assert "of-admin" not in told
        assert "the provider" in told
        assert "token of-owner" in told
        assert "token of-admin" in words(browser("admin").get(url))
    sources = {event["source"] for event in world.caller("owner").get("events?kind=vm.renamed").json()["results"]}
    assert sources == {"the provider", "token of-owner"}
    newest = world.caller("admin").get("events?kind=vm.renamed").json()["results"]
    assert {event["source"] for event in newest} == {"token of-admin", "token of-owner"}
    fed = world.caller("owner").get("events?kind=vm.renamed&after=0").json()["results"]
    assert {event["source"] for event in fed} == sources


def test_a_machine_says_its_groups_and_storage(world: World, browser: Browser) -> None:
    web, pool = world.machines["web"], world.host.default_pool
    group = AffinityGroup.objects.unscoped("test").create(tenant=world.acme, name="front", policy="apart")
    group.members.add(web)
    told = words(browser("owner").get(address(web)))
    assert "front, kept apart" in told
    assert f"Storage {pool.storage_class.name} Groups" in told
    assert f"Storage {pool.storage_class.name}, pool {pool.name} Groups" in words(browser("admin").get(address(web)))
