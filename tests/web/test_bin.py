"""The bin in the pages: what is said before, where it lies, and what restoring asks for."""

from __future__ import annotations

from typing import Any

import pytest

from portal.operations.services import active_on
from tests.web.conftest import Browser
from tests.world import World
from vms.models import VM, Schedule


def settings_of(world: World, name: str) -> str:
    return f"/t/acme/vms/{world.machines[name].pk}/settings/"


def test_the_form_says_what_deleting_does(world: World, browser: Browser, settings: Any) -> None:
    words = browser("owner").get(settings_of(world, "web")).content.decode()
    assert "lies in the bin for 1 day" in words
    assert "counts towards the quota" in words
    assert "Data volumes outlive it" in words
    settings.BIN_HOURS = 0
    words = browser("owner").get(settings_of(world, "web")).content.decode()
    assert "deleted for good" in words
    assert 'name="purge"' not in words


@pytest.mark.parametrize(("purge", "kind"), [({}, "vm.delete"), ({"purge": "on"}, "vm.purge")])
def test_the_choice(world: World, browser: Browser, purge: dict[str, str], kind: str) -> None:
    body = {"intent": "delete", "confirmation": "web", **purge}
    assert browser("owner").post(settings_of(world, "web"), body).status_code == 302
    operation = active_on("vm", world.machines["web"].pk)
    assert operation is not None
    assert operation.kind == kind


def test_it_is_in_the_bin_and_not_in_the_list(world: World, browser: Browser) -> None:
    vm = world.binned("old")
    assert browser("owner").get(f"/t/acme/vms/{vm.pk}/row/").status_code == 204
    listed = browser("owner").get("/t/acme/vms/").content.decode()
    assert ">old<" not in listed
    assert "Bin (1)" in listed
    assert ">old<" in browser("owner").get("/t/acme/vms/bin/").content.decode()


def test_a_name_that_is_taken_is_asked_for(world: World, browser: Browser) -> None:
    vm = world.binned("web")
    path = f"/t/acme/vms/{vm.pk}/restore/"
    answer = browser("owner").post(path, {})
    assert answer.status_code == 422
    assert "Another machine has the name web" in answer.content.decode()
    assert browser("owner").post(path, {"name": "web-2"})["Location"] == f"/t/acme/vms/{vm.pk}/"
    assert VM.objects.unscoped("test").get(pk=vm.pk).name == "web-2"


def test_another_machines_schedule_is_not_at_this_address(world: World, browser: Browser) -> None:
    schedule = world.schedule("cold")
    path = f"/t/acme/vms/{world.machines['web'].pk}/schedules/{schedule.pk}/"
    assert browser("owner").post(path, {"intent": "remove"}).status_code == 404
    assert Schedule.objects.unscoped("test").filter(pk=schedule.pk).exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"zone": "Mars/X"}, "There is no such time zone"),
        ({"keep_last": "0"}, "at least one"),
        ({"every": "weekly"}, "on which day"),
        ({"at": "25:00"}, "Enter a valid time"),
        ({"keep_last": "-1"}, "greater than or equal to 0"),
        ({"kind": "power"}, "when it is switched off"),
    ],
)
def test_a_schedule_that_makes_no_sense(world: World, browser: Browser, wrong: dict[str, str], words: str) -> None:
    body = {"kind": "snapshot", "every": "daily", "at": "03:00", "zone": "UTC", "keep_last": "3", **wrong}
    answer = browser("owner").post(f"/t/acme/vms/{world.machines['web'].pk}/schedules/", body)
    assert answer.status_code == 422
    assert words in answer.content.decode()
