"""Lists, details, actions and settings of machines, in the browser without a script."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hosts.models import Host
from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.tenancy.gate import actor_for
from tests.web.conftest import Browser
from tests.world import World, forget_machines
from vms.models import VM, Power
from vms.services.clone import clone_vm
from vms.workflows.create import forget


@pytest.fixture
def owner(browser: Browser) -> Client:
    return browser("owner")


def words(answer: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def listed(answer: Any) -> list[str]:
    return [row.name for row in answer.context["rows"]]


def address(vm: VM, tail: str = "") -> str:
    return f"/t/acme/vms/{vm.pk}/{tail}"


class TestList:
    def test_a_row_has_what_one_looks_for(self, world: World, owner: Client) -> None:
        web, nic = world.machines["web"], world.machines["web"].nics.get()
        row = next(row for row in owner.get("/t/acme/vms/").context["rows"] if row.name == "web")
        assert (row.status.word, row.status.look) == ("running", "running")
        assert (row.address, row.ssh) == (nic.ip, f"ssh tiny@{nic.ip}")
        assert (row.flavor, row.image, row.url) == ("Small", "tiny", address(web))

    def test_a_machine_with_an_operation_says_what_is_done_to_it(self, world: World, owner: Client) -> None:
        rows = {row.name: row for row in owner.get("/t/acme/vms/").context["rows"]}
        assert (rows["busy"].status.word, rows["busy"].status.look) == ("rebooting", "working")
        reasons = {button.name: button.reason for button in rows["busy"].buttons}
        assert "still under way" in reasons["stop"]

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("q=we", ["web"]),
            ("q=10.75.0.2", ["web"]),
            ("q=10.75.", ["busy", "paused", "cold", "web"]),
            ("status=paused", ["paused"]),
            ("status=stopped&q=co", ["cold"]),
            ("q=nothing", []),
            ("q=%00%27%22%3C", []),
            ("q=%25", []),
        ],
    )
    def test_search_and_filters_are_in_the_address(
        self, world: World, owner: Client, query: str, names: list[str]
    ) -> None:
        answer = owner.get(f"/t/acme/vms/?{query}")
        assert answer.status_code == 200
        assert listed(answer) == names

    @pytest.mark.parametrize("query", ["status=nonsense", "after=nonsense"])
    def test_a_damaged_address_is_the_askers_fault(self, world: World, owner: Client, query: str) -> None:
        assert owner.get(f"/t/acme/vms/?{query}").status_code == 400

    def test_pages_follow_each_other_without_loss(self, world: World, owner: Client) -> None:
        for number in range(110):
            world.vm(f"vm-{number}")
        found, url = [], "/t/acme/vms/?q=vm-"
        while url:
            answer = owner.get(url)
            found += listed(answer)
            url = answer.context["page"].next_url
            assert not url or "q=vm-" in url
        assert found == [f"vm-{number}" for number in reversed(range(110))]

    def test_empty_states_differ(self, world: World, owner: Client, browser: Browser) -> None:
        assert "No machine matches" in words(owner.get("/t/acme/vms/?q=nothing"))
        forget_machines(VM.objects.unscoped("test").all())
        assert "Create your first virtual machine" in words(owner.get("/t/acme/vms/"))
        assert "Create your first" not in words(browser("viewer").get("/t/acme/vms/"))

    def test_a_name_cannot_break_out(self, world: World, owner: Client) -> None:
        VM.objects.unscoped("test").filter(pk=world.machines["web"].pk).update(name="<script>x</script>")
        assert "<script>x" not in owner.get("/t/acme/vms/").content.decode()


class TestBulk:
    def ids(self, world: World, *names: str) -> list[str]:
        return [str(world.machines[name].pk) for name in names]

    def test_each_has_its_result(self, world: World, owner: Client) -> None:
        sent = {"action": "stop", "vm": self.ids(world, "web", "cold", "busy")}
        answer = owner.post("/t/acme/vms/bulk/", sent, follow=True)
        assert answer.context["accepted"] == ["web"]
        reasons = {each["name"]: each["reason"] for each in answer.context["refused"]}
        assert reasons.keys() == {"busy"}
        assert "still under way" in reasons["busy"]
        assert answer.context["unchanged"] == [{"name": "cold", "reason": "It is stopped already."}]
        assert "1 accepted, 1 refused, 1 unchanged" in words(answer)

    def test_what_is_so_already_is_no_failure(self, world: World, owner: Client) -> None:
        sent = {"action": "start", "vm": self.ids(world, "web", "cold")}
        answer = owner.post("/t/acme/vms/bulk/", sent, follow=True)
        assert "1 accepted, 0 refused, 1 unchanged" in words(answer)
        assert "It is running already." in words(answer)
        assert "status--failed" not in answer.content.decode()

    def test_where_all_went_well_a_notice_is_enough(self, world: World, owner: Client) -> None:
        answer = owner.post("/t/acme/vms/bulk/", {"action": "stop", "vm": self.ids(world, "web")}, follow=True)
        assert "1 VM is stopping." in words(answer)

    def test_a_delete_asks_first(self, world: World, owner: Client) -> None:
        sent = {"action": "delete", "vm": self.ids(world, "web", "cold")}
        answer = owner.post("/t/acme/vms/bulk/", sent)
        assert "Delete 2 VMs" in words(answer)
        assert VM.objects.unscoped("test").filter(lifecycle="deleting").count() == 0
        assert "nothing was deleted" in words(owner.post("/t/acme/vms/bulk/", {**sent, "confirmation": "3"}))
        owner.post("/t/acme/vms/bulk/", {**sent, "confirmation": "2"})
        assert VM.objects.unscoped("test").filter(lifecycle="deleting").count() == 2

    def test_a_delete_counts_what_can_be_deleted(self, world: World, owner: Client) -> None:
        VM.objects.unscoped("test").filter(name="web").update(is_protected=True)
        sent = {"action": "delete", "vm": self.ids(world, "web", "cold", "busy")}
        page = owner.post("/t/acme/vms/bulk/", sent)
        assert "Delete 1 VM" in words(page)
        assert "2 stay" in words(page)
        assert "web It is protected against deletion" in words(page)
        assert "busy “Reboot busy” is still under way" in words(page)
        assert re.findall(r'name="vm" value="([^"]+)"', page.content.decode()) == self.ids(world, "cold")

    def test_where_nothing_can_be_deleted_nothing_is_asked(self, world: World, owner: Client) -> None:
        page = owner.post("/t/acme/vms/bulk/", {"action": "delete", "vm": self.ids(world, "busy")})
        assert "None of these can be deleted" in words(page)
        assert "data-confirm-submit" not in page.content.decode()

    def test_machines_of_others_are_not_touched(self, world: World, owner: Client) -> None:
        owner.post("/t/acme/vms/bulk/", {"action": "stop", "vm": self.ids(world, "foreign")})
        assert active_on("vm", world.machines["foreign"].pk) is None

    @pytest.mark.parametrize(
        "sent", [{}, {"action": "stop"}, {"action": "explode", "vm": ["x"]}, {"action": "stop", "vm": "x"}]
    )
    def test_nonsense_is_said(self, world: World, owner: Client, sent: dict[str, Any]) -> None:
        answer = owner.post("/t/acme/vms/bulk/", sent, follow=True)
        assert answer.redirect_chain == [("/t/acme/vms/", 302)]
        assert answer.context["messages"]


class TestDetail:
    def test_access_and_facts(self, world: World, owner: Client) -> None:
        page = words(owner.get(address(world.machines["web"])))
        nic = world.machines["web"].nics.get()
        for fact in (f"ssh tiny@{nic.ip}", nic.mac, "Small", "Runs by emulation", "running"):
            assert fact in page

    def test_user_data_is_not_shown(self, world: World, owner: Client) -> None:
        for tail in ("", "settings/", "activity/", "header/", "row/"):
            assert "canary-of-user-data" not in owner.get(address(world.machines["web"], tail)).content.decode()

    def test_actions_that_are_refused_say_why(self, world: World, owner: Client, browser: Browser) -> None:
        web = world.machines["web"]
        assert "It is running already." in words(owner.get(address(web)))
        assert "Your role here is viewer; this needs more." in words(browser("viewer").get(address(web)))

    def test_a_silent_host_makes_the_state_old(self, world: World, owner: Client) -> None:
        Host.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
        page = words(owner.get(address(world.machines["web"])))
        assert "Last known state" in page
        assert "Its host does not answer" in page
        assert "5 min ago" in page

    def test_a_waiting_operation_says_for_what(self, world: World, owner: Client) -> None:
        Operation.objects.unscoped("test").update(waiting_for="the host does not answer")
        page = words(owner.get(address(world.machines["busy"])))
        assert "It waits The host does not answer" in page

    def test_one_that_failed_to_be_created_leads_to_its_story(self, world: World, owner: Client) -> None:
        owner.post("/t/acme/vms/create/", _create(world))
        vm = VM.objects.unscoped("test").get(name="new")
        operation = active_on("vm", vm.pk)
        assert operation is not None
        operation.steps.filter(name="disk").update(state="undone")
        error = {"code": "no_space", "title": "Failed", "detail": "The storage of the host is full."}
        Operation.objects.unscoped("test").filter(pk=operation.pk).update(state="failed", error=error)
        forget(operation)
        answer = owner.get(address(vm), follow=True)
        assert answer.redirect_chain == [(f"/operations/{operation.pk}/", 302)]
        page = words(answer)
        for part in ("The storage of the host is full.", "Making the disk", "ask an administrator for more storage"):
            assert part in page
        assert owner.get(address(vm, "header/")).status_code == 404
        retry = answer.context["operation"].retry_url
        again = owner.get(retry)
        assert again.context["form"]["name"].value() == "new"
        assert again.context["create"].chosen_flavor.slug == "large"

    def test_a_machine_gone_is_nothing_to_strangers(self, world: World, browser: Browser) -> None:
        web = world.machines["busy"]
        forget_machines(VM.objects.unscoped("test").filter(pk=web.pk))
        assert browser("foreign").get(f"/t/beta/vms/{web.pk}/").status_code == 404


class TestActions:
    @pytest.mark.parametrize(
        ("machine", "action", "kind"),
        [
            ("cold", "start", "vm.start"),
            ("web", "stop", "vm.stop"),
            ("web", "reboot", "vm.reboot"),
            ("web", "force-off", "vm.force-off"),
            ("web", "pause", "vm.pause"),
            ("paused", "resume", "vm.resume"),
        ],
    )
    def test_a_button_begins_an_operation(
        self, world: World, owner: Client, machine: str, action: str, kind: str
    ) -> None:
        vm = world.machines[machine]
        answer = owner.post(address(vm, f"actions/{action}/"))
        operation = active_on("vm", vm.pk)
        assert answer["Location"] == address(vm)
        assert operation is not None
        assert operation.kind == kind

    def test_a_reboot_is_told(self, world: World, owner: Client) -> None:
        answer = owner.post(address(world.machines["web"], "actions/reboot/"), follow=True)
        assert "The guest was asked to restart." in words(answer)

    def test_from_the_console_back_to_the_console(self, world: World, owner: Client) -> None:
        answer = owner.post(address(world.machines["cold"], "actions/start/"), {"next": "console", "kind": "serial"})
        assert answer["Location"] == address(world.machines["cold"], "console/?kind=serial")

    def test_a_refusal_is_said_on_the_page(self, world: World, owner: Client) -> None:
        answer = owner.post(address(world.machines["cold"], "actions/stop/"), follow=True)
        assert "It is stopped already." in [str(each) for each in answer.context["messages"]]

    def test_from_the_list_back_to_the_list(self, world: World, owner: Client) -> None:
        answer = owner.post(address(world.machines["web"], "actions/stop/"), {"next": "list"})
        assert answer["Location"] == "/t/acme/vms/"

    @pytest.mark.parametrize("action", ["delete", "explode", "resize", "console"])
    def test_other_words_are_no_actions(self, world: World, owner: Client, action: str) -> None:
        assert owner.post(address(world.machines["web"], f"actions/{action}/")).status_code == 404


class TestSettings:
    def send(self, world: World, client: Client, machine: str, **body: str) -> Any:
        return client.post(address(world.machines[machine], "settings/"), body)

    def test_rename(self, world: World, owner: Client) -> None:
        self.send(world, owner, "web", intent="rename", name="better")
        assert VM.objects.unscoped("test").get(pk=world.machines["web"].pk).name == "better"

    @pytest.mark.parametrize(
        ("name", "says"), [("cold", "has this name already"), ("No!", "lower-case"), ("", "required")]
    )
    def test_a_bad_name_is_said_at_the_field(self, world: World, owner: Client, name: str, says: str) -> None:
        answer = self.send(world, owner, "web", intent="rename", name=name)
        assert answer.status_code == 422
        assert says in " ".join(answer.context["rename"].errors["name"])
        assert answer.context["vm"].name == "web"

    def test_resize_only_while_off(self, world: World, owner: Client) -> None:
        refused = self.send(world, owner, "web", intent="resize", flavor=str(world.large.pk))
        assert "Stop it first" in words(refused)
        self.send(world, owner, "cold", intent="resize", flavor=str(world.large.pk))
        operation = active_on("vm", world.machines["cold"].pk)
        assert operation is not None
        assert operation.kind == "vm.resize"

    def test_clone(self, world: World, owner: Client) -> None:
        answer = self.send(world, owner, "cold", intent="clone", name="copy", mode="full")
        assert answer["Location"] == f"/t/acme/vms/{world.machines['cold'].pk}/"
        page = words(owner.get(answer["Location"]))
        assert "It is being cloned as copy." in page
        assert "Clone cold as copy" in page
        assert "cloning" in page

    @pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
    def test_its_page_tells_how_a_clone_ended(self, world: World, owner: Client, end: str) -> None:
        cold = world.machines["cold"]
        new, operation = clone_vm(actor=actor_for(world.people["owner"]), vm=cold, name="copy")
        operation.holds.update(is_active=False)
        Operation.objects.unscoped("test").filter(pk=operation.pk).update(state=end)
        page = owner.get(f"/t/acme/vms/{cold.pk}/")
        where = f"/t/acme/vms/{new.pk}/" if end == "succeeded" else f"/operations/{operation.pk}/"
        assert f'href="{where}"' in page.content.decode()
        assert ("It was cloned as copy" if end == "succeeded" else "It was not cloned as copy.") in words(page)
        told = owner.get(f"/operations/{operation.pk}/").content.decode()
        assert "To copy" not in told
        assert (f'href="/t/acme/vms/{cold.pk}/settings/#clone"' in told) is (end != "succeeded")
        assert (f'href="/t/acme/vms/{new.pk}/"' in told) is (end == "succeeded")

    def test_a_clone_that_cannot_be_says_why(self, world: World, owner: Client) -> None:
        assert "is still under way" in words(self.send(world, owner, "busy", intent="clone", name="copy", mode="full"))
        answer = self.send(world, owner, "cold", intent="clone", name="web", mode="linked")
        assert 'value="linked" checked' in answer.content.decode(), "what was chosen stays chosen"
        assert answer.status_code == 422
        assert "has this name already" in " ".join(answer.context["clone"].errors["name"])
        assert 'id="id_clone_name"' in answer.content.decode()

    def test_sizes_that_do_not_fit_say_why(self, world: World, owner: Client) -> None:
        VM.objects.unscoped("test").filter(name="cold").update(disk_gib=2)
        cards = owner.get(address(world.machines["cold"], "settings/")).context["sizes"]
        assert [card.reason for card in cards] == ["This is its size now.", ""]

    def test_protection_and_back(self, world: World, owner: Client) -> None:
        self.send(world, owner, "web", intent="protect", protected="on")
        refused = self.send(world, owner, "web", intent="delete", confirmation="web")
        assert refused.status_code == 422
        assert "remove the protection first" in words(refused)
        self.send(world, owner, "web", intent="protect")
        assert not VM.objects.unscoped("test").get(pk=world.machines["web"].pk).is_protected

    def test_delete_wants_the_name(self, world: World, owner: Client) -> None:
        answer = self.send(world, owner, "web", intent="delete", confirmation="wbe")
        assert answer.status_code == 422
        assert "nothing was deleted" in " ".join(answer.context["delete"].errors["confirmation"])
        assert active_on("vm", world.machines["web"].pk) is None
        done = self.send(world, owner, "web", intent="delete", confirmation="web")
        assert done["Location"] == "/t/acme/vms/"
        operation = active_on("vm", world.machines["web"].pk)
        assert operation is not None
        assert operation.kind == "vm.delete"

    def test_an_unknown_intent_changes_nothing(self, world: World, owner: Client) -> None:
        answer = self.send(world, owner, "web", intent="explode")
        assert answer.status_code == 200
        assert active_on("vm", world.machines["web"].pk) is None


class TestOverview:
    def test_counts_lead_to_their_list(self, world: World, owner: Client) -> None:
        counts = {each.word: each for each in owner.get("/t/acme/").context["counts"]}
        assert {word: each.count for word, each in counts.items()} == {"running": 2, "stopped": 1, "paused": 1}
        assert len(listed(owner.get(counts["running"].url))) == 2

    def test_first_steps_are_ticked_off(self, world: World, owner: Client, browser: Browser) -> None:
        forget_machines(VM.objects.unscoped("test").filter(tenant=world.acme).exclude(name="web"))
        done = {step.label: step.is_done for step in owner.get("/t/acme/").context["steps"]}
        assert done == {"Add an SSH key": False, "Create a VM": True, "Open its console": False}
        world.key_of("owner")
        owner.post(address(world.machines["web"], "console/ticket/"), {"kind": "serial"})
        assert owner.get("/t/acme/").context["steps"] == []
        assert browser("viewer").get("/t/acme/").context["steps"] == []

    def test_a_new_tenant_is_taught(self, world: World, owner: Client) -> None:
        forget_machines(VM.objects.unscoped("test").all())
        page = owner.get("/t/acme/")
        assert "Create your first virtual machine" in words(page)
        assert page.content.decode().count('href="/t/acme/vms/create/"') >= 2


def _create(world: World) -> dict[str, str]:

    return {"name": "new", "image": str(world.image.pk), "flavor": str(world.large.pk)}


def test_power_words() -> None:
    """Every state of the public contract has a look; a new one must get its own."""
    from vms.selectors import STATUSES
    from vms.web.presenters import LOOKS

    assert set(LOOKS) == set(STATUSES)
    assert set(Power.values) <= set(STATUSES)
