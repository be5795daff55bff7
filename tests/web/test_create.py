"""The create page: everything preselected, errors at their fields, and a double click acts once."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import SshKey
from portal.core.ids import uuid7
from portal.operations.models import Operation
from portal.quotas.models import Quota
from portal.web.once import FIELD
from tests.web.conftest import Browser
from tests.world import SSH_KEY, World
from vms.models import VM, Flavor

URL = "/t/acme/vms/create/"


@pytest.fixture
def owner(browser: Browser) -> Client:
    return browser("owner")


def body(world: World, **more: Any) -> dict[str, Any]:
    wanted = {"name": "new", "image": str(world.image.pk), "flavor": str(world.flavor.pk)}
    return {FIELD: str(uuid7()), **wanted, **more}


def made(name: str = "new") -> list[VM]:
    return list(VM.objects.unscoped("test").filter(name=name, tenant__slug="acme"))


def words(answer: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def errors(answer: Any, field: str) -> str:
    return " ".join(answer.context["form"].errors.get(field, []))


class TestTwoClicks:
    def test_the_form_as_it_comes_makes_a_machine(self, world: World, owner: Client) -> None:
        """What a browser sends when one only presses the button."""
        world.key_of("owner")
        page = owner.get(URL).content.decode()
        sent: dict[str, list[str]] = {}
        for tag in re.findall(r"<input[^>]*>", page[page.index("data-create") :]):
            attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
            if attributes.get("type") in ("radio", "checkbox") and " checked" not in tag:
                continue
            sent.setdefault(attributes["name"], []).append(html.unescape(attributes.get("value", "")))
        answer = owner.post(URL, sent)
        (vm,) = made(sent["name"][0])
        assert answer.status_code == 302
        assert answer["Location"] == f"/t/acme/vms/{vm.pk}/"
        assert (vm.flavor, vm.image) == (world.flavor, world.image)
        assert [key.split()[:2] for key in vm.ssh_keys] == [SSH_KEY.split()[:2]]

    def test_the_machines_page_shows_the_steps(self, world: World, owner: Client) -> None:
        answer = owner.post(URL, body(world), follow=True)
        assert "Making the disk" in words(answer)
        assert "waiting" in words(answer)

    def test_the_last_choice_is_remembered(self, world: World, owner: Client) -> None:
        owner.post(URL, body(world, flavor=str(world.large.pk)))
        assert owner.get(URL).context["create"].chosen_flavor.slug == "large"

    def test_a_link_prefills(self, world: World, owner: Client) -> None:
        page = owner.get(f"{URL}?name=again&flavor=large&image=tiny")
        assert page.context["form"]["name"].value() == "again"
        assert page.context["create"].chosen_flavor.slug == "large"

    def test_the_name_is_free(self, world: World, owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vms.web.names.candidates", lambda: ["web", "cold", "third"])
        assert owner.get(URL).context["form"]["name"].value() == "third"


class TestQuota:
    def test_before_and_after_are_shown(self, world: World, owner: Client) -> None:
        lines = {line.resource: line for line in owner.get(URL).context["create"].summary}
        assert (lines["vms"].before, lines["vms"].after, lines["vms"].of) == ("4", "5", "of 10")
        assert (lines["vcpus"].used, lines["vcpus"].takes) == (4, 1)

    def test_a_size_that_does_not_fit_says_why(self, world: World, owner: Client) -> None:
        Quota.objects.filter(tenant=world.acme).update(vcpus=5)
        page = owner.get(URL)
        cards = {card.slug: card for card in page.context["create"].flavors}
        assert cards["small"].reason == ""
        assert cards["large"].reason == "vCPU quota reached: 4 of 5 used, this needs 2 more."
        assert cards["large"].reason in words(page)
        assert re.search(rf'value="{world.large.pk}"[^>]* disabled', page.content.decode())

    def test_where_nothing_fits_the_button_says_so(self, world: World, owner: Client) -> None:
        Quota.objects.filter(tenant=world.acme).update(vms=4)
        page = owner.get(URL)
        said = "VM quota reached: 4 of 4 used. Delete a machine, or ask for more."
        assert words(page).count(said) == 2  # above the form, and at the button
        assert owner.post(URL, body(world)).context["form"].non_field_errors() == [said]
        assert re.search(r'<button type="button"[^>]*aria-disabled="true"[^>]*>Create VM', page.content.decode())

    def test_a_refusal_stands_at_the_size(self, world: World, owner: Client) -> None:
        Quota.objects.filter(tenant=world.acme).update(vcpus=4)
        answer = owner.post(URL, body(world))
        assert answer.status_code == 422
        assert "vCPU quota reached: 4 of 4 used, this needs 1 more." in errors(answer, "flavor")
        assert "vCPU quota reached" in words(answer)
        assert made() == []


class TestErrorsAtTheirFields:
    @pytest.mark.parametrize(
        ("field", "value", "says"),
        [
            ("name", "web", "has this name already"),
            ("name", "Not A Name", "lower-case letters"),
            ("name", "x" * 64, "at most 63"),
            ("name", "nul\x00", "Null characters"),
            ("image", "no-such-image", "no such image"),
            ("flavor", "no-such-size", "no such flavor"),
            ("flavor", "9" * 63, "no such flavor"),
            ("ssh_keys", ["01900000-0000-7000-8000-000000000000"], "not one of the available choices"),
            ("new_key", "ssh-ed25519 garbage", "cut off or damaged"),
            ("new_key", "-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
            ("user_data", "x" * (64 * 1024 + 1), "at most 65536"),
            ("user_data", "é" * (40 * 1024), "64 KiB"),
        ],
    )
    def test_it_is_said_there_and_nothing_is_made(
        self, world: World, owner: Client, field: str, value: Any, says: str
    ) -> None:
        before = VM.objects.unscoped("test").count(), Operation.objects.unscoped("test").count()
        answer = owner.post(URL, body(world, **{field: value}))
        assert answer.status_code == 422
        assert says in errors(answer, field)
        assert (VM.objects.unscoped("test").count(), Operation.objects.unscoped("test").count()) == before

    def test_what_was_entered_stays(self, world: World, owner: Client) -> None:
        answer = owner.post(URL, body(world, name="web", flavor=str(world.large.pk), user_data="#!/bin/sh\ntrue"))
        assert answer.context["create"].chosen_flavor.slug == "large"
        assert "#!/bin/sh" in answer.content.decode()

    def test_another_tenants_image_is_unknown(self, world: World, owner: Client) -> None:
        from tests.world import make_image

        theirs = make_image("theirs", tenant=world.beta)
        assert "no such image" in errors(owner.post(URL, body(world, image=str(theirs.pk))), "image")
        assert "theirs" not in owner.get(URL).content.decode()

    def test_no_capacity_is_an_error_of_the_form(self, world: World, owner: Client) -> None:
        type(world.host).objects.update(state="cordoned")
        answer = owner.post(URL, body(world))
        assert "All hosts are cordoned" in errors(answer, "__all__")

    @pytest.mark.parametrize(
        ("change", "says"),
        [({"state": "cordoned"}, "All hosts are cordoned"), ({"accelerator": ""}, "No host is ready to run machines")],
    )
    def test_no_host_is_said_before_anything_is_sent(
        self, world: World, owner: Client, change: dict[str, str], says: str
    ) -> None:
        type(world.host).objects.update(**change)
        page = owner.get(URL)
        assert words(page).count(says) == 2
        assert re.search(r'<button type="button"[^>]*aria-disabled="true"[^>]*>Create VM', page.content.decode())


class TestKeys:
    def test_a_pasted_key_is_used_and_remembered(self, world: World, owner: Client) -> None:
        owner.post(URL, body(world, new_key=SSH_KEY))
        assert SshKey.objects.get(user=world.people["owner"]).name == "me@laptop"
        assert made()[0].ssh_keys == [SSH_KEY]

    def test_a_key_known_already_is_no_error(self, world: World, owner: Client) -> None:
        world.key_of("owner")
        owner.post(URL, body(world, new_key=SSH_KEY))
        assert len(made()) == 1
        assert SshKey.objects.count() == 1

    def test_a_refused_create_remembers_nothing(self, world: World, owner: Client) -> None:
        owner.post(URL, body(world, name="web", new_key=SSH_KEY))
        assert SshKey.objects.count() == 0

    def test_somebody_elses_key_cannot_be_chosen(self, world: World, owner: Client) -> None:
        theirs = world.key_of("foreign")
        answer = owner.post(URL, body(world, ssh_keys=[str(theirs.pk)]))
        assert "not one of the available choices" in errors(answer, "ssh_keys")


class TestTwice:
    def test_a_double_click_makes_one_machine(self, world: World, owner: Client) -> None:
        form = body(world)
        first, second = owner.post(URL, form), owner.post(URL, form)
        assert first["Location"] == second["Location"]
        assert len(made()) == 1

    def test_a_refused_form_can_be_corrected(self, world: World, owner: Client) -> None:
        form = body(world, name="web")
        assert owner.post(URL, form).status_code == 422
        assert owner.post(URL, {**form, "name": "new"}).status_code == 302
        assert len(made()) == 1


def test_emulation_is_said(world: World, owner: Client) -> None:
    assert "run by emulation (TCG)" in words(owner.get(URL))
    type(world.host).objects.update(accelerator="kvm")
    assert "run by emulation (TCG)" not in words(owner.get(URL))


def test_as_curl(world: World, owner: Client) -> None:
    page = owner.get(f"{URL}?name=by-curl").context["curl"]
    assert "-H 'Authorization: Bearer TOKEN'" in page
    assert '"name": "by-curl"' in page
    assert '"flavor": "small"' in page


def test_without_any_size_or_image(world: World, owner: Client) -> None:
    VM.objects.unscoped("test").filter(created_by="owner").update(created_by="x")
    Flavor.objects.update(is_active=False)
    type(world.image).objects.unscoped("test").update(is_active=False)
    page = owner.get(URL)
    assert page.status_code == 200
    assert "An administrator has to" in words(page)
