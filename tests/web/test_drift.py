"""The drift inbox, as administrators and auditors see it."""

from __future__ import annotations

import re

from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.operations.models import Operation
from tests.web.conftest import Browser
from tests.world import World
from vms.models import Drift

PAGE = "/provider/drift/"


def test_the_empty_inbox_teaches(world: World, browser: Browser) -> None:
    page = browser("admin").get(PAGE).content.decode()
    assert "Hosts and database agree" in page
    assert "nav__badge" not in page
    for state, words in (("ignored", "Nothing is ignored"), ("resolved", "Nothing was resolved yet")):
        assert words in browser("admin").get(f"{PAGE}?state={state}").content.decode()


def test_a_card_says_what_is_and_what_should_be(world: World, browser: Browser) -> None:
    world.drift()
    page = browser("admin").get(PAGE).content.decode()
    assert "Machine was started by hand" in page
    assert "cold is running: it was started on the host" in page
    assert re.search(r"What is</dt>.*?power: <span class=\"mono\">running", page, re.DOTALL)
    assert re.search(r"What should be</dt>.*?power: <span class=\"mono\">stopped", page, re.DOTALL)
    assert f"/t/acme/vms/{world.machines['cold'].pk}/" in page
    assert "/provider/hosts/one/" in page


def test_the_navigation_counts_open_ones(world: World, browser: Browser) -> None:
    world.drift()
    world.drift(object="another", state="ignored")
    assert re.search(r'nav__badge">1<', browser("auditor").get("/provider/hosts/").content.decode())
    assert "nav__badge" not in browser("owner").get("/t/acme/").content.decode()


def test_buttons_that_do_not_help_say_why(world: World, browser: Browser) -> None:
    card = world.drift()
    page = browser("admin").get(PAGE).content.decode()
    for resolution in ("adopt", "restore", "ignore"):
        assert f'action="{PAGE}{card.pk}/{resolution}/"' in page
    assert f'action="{PAGE}{card.pk}/clean-up/"' not in page
    assert "never removed from here" in page


def test_auditors_see_reasons_instead_of_buttons(world: World, browser: Browser) -> None:
    world.drift()
    page = browser("auditor").get(PAGE).content.decode()
    assert f'action="{PAGE}' not in page
    assert page.count("Auditors read everything and change nothing.") == 4


def test_restore_leads_to_its_operation(world: World, browser: Browser) -> None:
    card = world.drift()
    answer = browser("admin").post(f"{PAGE}{card.pk}/restore/")
    operation = Operation.objects.unscoped("test").get(kind="vm.repair")
    assert answer["Location"] == f"/operations/{operation.pk}/"
    assert operation.target_id == world.machines["cold"].pk
    page = browser("admin").get(PAGE).content.decode()
    assert "Restore cold as it should be" in page
    assert f'action="{PAGE}{card.pk}/adopt/"' not in page, "while that is under way"


def test_ignore_and_reopen(world: World, browser: Browser) -> None:
    card = world.drift()
    admin = browser("admin")
    answer = admin.post(f"{PAGE}{card.pk}/ignore/", follow=True)
    assert "ignored until it changes itself" in answer.content.decode()
    assert "Machine was started by hand" in admin.get(f"{PAGE}?state=ignored").content.decode()
    admin.post(f"{PAGE}{card.pk}/reopen/")
    assert Drift.objects.unscoped("test").get().state == "open"


def test_a_refusal_is_said(world: World, browser: Browser) -> None:
    card = world.drift()
    answer = browser("admin").post(f"{PAGE}{card.pk}/clean-up/", follow=True)
    assert "never removed from here" in answer.content.decode()


def test_nonsense_is_not_found(world: World, browser: Browser) -> None:
    card = world.drift()
    assert browser("admin").post(f"{PAGE}{card.pk}/explode/").status_code == 404
    assert browser("admin").get(f"{PAGE}?state=nonsense").status_code == 200
    assert browser("owner").get(PAGE).status_code == 403


def test_what_hosts_say_is_shown_as_text(world: World, browser: Browser) -> None:
    world.drift(kind="foreign_domain", object="<script>x</script>", vm=None, evidence={"is": {"disks": ["<b>"]}})
    page = browser("admin").get(PAGE).content.decode()
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page
    assert "&lt;b&gt;" in page


def test_it_takes_no_more_queries_for_more_cards(world: World, browser: Browser) -> None:
    admin = browser("admin")
    counts = []
    for number in (1, 15):
        for each in range(number):
            world.drift(object=f"object-{each}")
        with CaptureQueriesContext(connection) as captured:
            admin.get(PAGE)
        counts.append(len(captured))
    assert counts[0] >= counts[1]
    assert counts[1] <= 11
