"""Machines over the API, as the public contract has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.core.errors import Conflict, NotFound
from portal.core.ids import uuid7
from portal.operations.models import Operation
from portal.quotas.models import Claim, Quota
from portal.tenancy.gate import actor_for
from tests.world import SSH_KEY, Caller, World
from vms.models import VM, Nic, Power
from vms.services.change import resize
from vms.services.delete import delete_vm
from vms.services.power import change_power
from vms.states import Action
from vms.workflows.create import forget_machine

Api = Callable[..., Caller]
NEW = {"name": "new", "image": "tiny", "flavor": "small"}
SHOWN = {"id", "name", "tenant", "status", "flavor", "image", "vcpus", "memory_mib", "disk_gib", "addresses"} | {
    *("actions", "operation", "error", "nics", "ssh", "protected", "host", "created_by", "created_at"),
    *("observed_at", "observed_since", "purge_at", "service_class", "expires_at", "lease"),
}
OPERATION = {"id", "kind", "status", "progress", "step", "steps", "resource", "error", "created_at", "started_at"} | {
    *("finished_at", "title", "tenant", "waiting_for", "cancellable", "deadline_at", "needs_attention", "created_by"),
    "cancel_requested_at",
}


class TestCreate:
    def test_it_is_accepted_with_the_operation_to_follow(self, call: Api) -> None:
        answer = call("owner").post("vms", NEW)
        assert answer.status_code == 202
        body = answer.json()
        assert set(body) == {"operation", "vm"}
        assert answer["Location"] == f"/api/v1/operations/{body['operation']['id']}"
        assert set(body["operation"]) == OPERATION
        assert set(body["vm"]) == SHOWN
        assert body["vm"]["status"] == "building"
        assert body["vm"]["operation"]["id"] == body["operation"]["id"]
        assert body["operation"]["resource"] == {"type": "vm", "id": body["vm"]["id"], "name": "new"}
        assert (body["operation"]["status"], body["operation"]["progress"]) == ("queued", 0)
        assert call("owner").get(answer["Location"]).json() == body["operation"]

    def test_it_takes_what_was_asked_for(self, world: World, call: Api) -> None:
        key = world.key_of("owner")
        wanted = {
            "name": "full",
            "image": str(world.image.pk),
            "flavor": str(world.large.pk),
            "tenant": str(world.acme.pk),
            "ssh_keys": [SSH_KEY, str(key.pk)],
            "user_data": "#cloud-config\nhostname: ü\n",
            "network": "default",
            "protected": True,
        }
        body = call("owner").post("vms", wanted).json()["vm"]
        assert (body["flavor"], body["image"], body["tenant"]) == ("large", "tiny", "acme")
        assert (body["vcpus"], body["memory_mib"], body["disk_gib"]) == (2, 256, 2)
        assert body["protected"] is True
        vm = VM.objects.unscoped("test").get(pk=body["id"])
        assert vm.ssh_keys == [SSH_KEY, key.public_key]
        assert vm.user_data == wanted["user_data"]

    def test_who_belongs_to_several_tenants_says_for_which(self, world: World, call: Api) -> None:
        call("owner").put("tenants/acme/members/foreign", {"role": "member"})
        problem = call("foreign").post("vms", NEW).json()
        assert problem["status"] == 400
        assert problem["errors"][0]["field"] == "tenant"

    @pytest.mark.parametrize(
        ("change", "field", "code"),
        [
            ({"image": "none"}, "image", "unknown_reference"),
            ({"flavor": "none"}, "flavor", "unknown_reference"),
            ({"tenant": "none"}, "tenant", "unknown_reference"),
            ({"tenant": "beta"}, "tenant", "unknown_reference"),
            ({"network": "none"}, "network", "unknown_reference"),
            ({"name": "Web"}, "name", "invalid_name"),
            ({"name": "a_b"}, "name", "invalid_name"),
            ({"name": "-a"}, "name", "invalid_name"),
            ({"name": "a..b"}, "name", "invalid_name"),
            ({"name": "../../x"}, "name", "invalid_name"),
            ({"name": "localhost"}, "name", "invalid_name"),
            ({"name": "1"}, "name", "invalid_name"),
            ({"name": "a\n"}, "name", "invalid_name"),
            ({"name": " a"}, "name", "invalid_name"),
            ({"name": "аdmin"}, "name", "invalid_name"),
            ({"name": ""}, "name", "blank"),
            ({"name": "a" * 64}, "name", "max_length"),
            ({"user_data": "x" * (64 * 1024 + 1)}, "user_data", "max_length"),
            ({"user_data": "ü" * (32 * 1024 + 1)}, "user_data", "too_long"),
            ({"ssh_keys": ["ssh-ed25519 nonsense"]}, "ssh_keys", "invalid_ssh_key"),
            ({"ssh_keys": [SSH_KEY + "\nssh-rsa x"]}, "ssh_keys", "invalid_ssh_key"),
            ({"ssh_keys": ['command="x" ' + SSH_KEY]}, "ssh_keys", "invalid_ssh_key"),
            ({"ssh_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "ssh_keys", "private_key"),
            ({"ssh_keys": [SSH_KEY] * 21}, "ssh_keys", "max_length"),
            ({"status": "running"}, "status", "unknown_field"),
            ({"host": "one"}, "host", "unknown_field"),
            ({"id": "018f0000-0000-7000-8000-000000000000"}, "id", "unknown_field"),
        ],
    )
    def test_bad_input_is_refused_at_its_field(self, call: Api, change: dict[str, Any], field: str, code: str) -> None:
        before = rows()
        problem = call("owner").post("vms", {**NEW, **change}).json()
        assert problem["status"] == 400
        assert [(error["field"], error["code"]) for error in problem["errors"]] == [(field, code)]
        assert problem["code"] == code
        assert rows() == before

    def test_all_that_is_missing_is_named(self, call: Api) -> None:
        problem = call("owner").post("vms", {}).json()
        assert {error["field"] for error in problem["errors"]} == {"name", "image", "flavor"}
        assert problem["code"] == "required"

    def test_a_private_image_of_another_tenant_does_not_exist(self, world: World, call: Api) -> None:
        from tests.world import make_image

        make_image("secret", world.beta)
        assert call("owner").post("vms", {**NEW, "image": "secret"}).json()["errors"][0]["field"] == "image"
        assert call("owner").get("images/secret").status_code == 404
        assert call("foreign").get("images/secret").status_code == 200

    def test_a_name_is_taken_once_in_a_tenant(self, call: Api) -> None:
        problem = call("owner").post("vms", {**NEW, "name": "web"}).json()
        assert (problem["status"], problem["code"]) == (409, "duplicate")
        assert problem["errors"][0]["field"] == "name"

    def test_a_quota_refusal_says_which(self, world: World, call: Api) -> None:
        Quota.objects.filter(tenant=world.acme).update(memory_mib=600)
        before = rows()
        answer = call("owner").post("vms", NEW)
        problem = answer.json()
        assert answer.status_code == 409
        assert answer["Content-Type"] == "application/problem+json"
        assert problem["code"] == "quota_exceeded"
        facts = {name: problem[name] for name in ("resource", "limit", "used", "requested")}
        assert facts == {"resource": "memory_mib", "limit": 600, "used": 512, "requested": 128}
        assert problem["errors"][0]["field"] == "flavor"
        assert "smaller size" in problem["detail"]
        assert rows() == before

    def test_a_full_count_is_no_fault_of_the_size(self, world: World, call: Api) -> None:
        Quota.objects.filter(tenant=world.acme).update(vms=4)
        problem = call("owner").post("vms", NEW).json()
        assert problem["detail"] == "VM quota reached: 4 of 4 used. Delete a machine, or ask for more."
        assert problem.get("errors", []) == []

    def test_no_host_with_room(self, world: World, call: Api) -> None:
        world.host.memory_mib = 1
        world.host.save()
        assert call("owner").post("vms", NEW).json()["code"] == "no_capacity"


class TestRead:
    def test_one(self, world: World, call: Api) -> None:
        vm = world.machines["web"]
        nic = Nic.objects.get(vm=vm)
        body = call("member").get(f"vms/{vm.pk}").json()
        assert set(body) == SHOWN
        assert (body["id"], body["name"], body["status"]) == (str(vm.pk), "web", "running")
        assert body["addresses"] == [nic.ip]
        assert body["nics"] == [{"mac": nic.mac, "ip": nic.ip, "seen_at": None}]
        assert body["ssh"] == f"ssh tiny@{nic.ip}"
        assert body["operation"] is None
        assert body["actions"]["stop"] == {"allowed": True, "reason": ""}
        assert body["actions"]["start"] == {"allowed": False, "reason": "It is running already."}

    def test_a_viewer_is_told_why_not(self, world: World, call: Api) -> None:
        actions = call("viewer").get(f"vms/{world.machines['web'].pk}").json()["actions"]
        assert not any(verdict["allowed"] for verdict in actions.values())
        assert actions.pop("migrate")["reason"]  # which is no tenant's to do, whatever the role
        assert all("viewer" in verdict["reason"] for verdict in actions.values())

    def test_what_is_under_way_is_named(self, world: World, call: Api) -> None:
        body = call("owner").get(f"vms/{world.machines['busy'].pk}").json()
        assert set(body["operation"]) == {"id", "kind", "title", "status", "waiting_for"}
        assert body["operation"]["title"] == "Reboot busy"

    def test_hosts_are_for_the_staff(self, world: World, call: Api) -> None:
        path = f"vms/{world.machines['web'].pk}"
        assert call("owner").get(path).json()["host"] is None
        assert call("auditor").get(path).json()["host"] == "one"

    @pytest.mark.parametrize("person", ["owner", "admin"])
    def test_user_data_is_shown_nowhere_else(self, world: World, call: Api, person: str) -> None:
        vm = world.machines["web"]
        for path in ("vms", f"vms/{vm.pk}", "events", "operations"):
            assert "canary-of-user-data" not in call(person).get(path).content.decode()
        assert "canary" in call("owner").get(f"vms/{vm.pk}/user-data").json()["user_data"]

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("?status=stopped", {"cold"}),
            ("?search=au", {"paused"}),
            ("?search=%25", set()),
            ("?tenant=acme&status=running", {"web", "busy"}),
        ],
    )
    def test_filters(self, call: Api, query: str, names: set[str]) -> None:
        assert {vm["name"] for vm in call("owner").get(f"vms{query}").json()["results"]} == names

    @pytest.mark.parametrize(
        ("query", "field"), [("?status=x", "status"), ("?tenant=beta", "tenant"), ("?ordering=password", "ordering")]
    )
    def test_bad_filters(self, call: Api, query: str, field: str) -> None:
        problem = call("owner").get(f"vms{query}").json()
        assert (problem["status"], problem["errors"][0]["field"]) == (400, field)

    @pytest.mark.parametrize("id", ["1", "{x}", "%00", "x" * 10_000, "../vms", "web"])
    def test_ids_that_are_none(self, call: Api, id: str) -> None:
        assert call("owner").get(f"vms/{id}").status_code == 404


class TestChange:
    def test_rename_and_protect(self, world: World, call: Api) -> None:
        path = f"vms/{world.machines['web'].pk}"
        body = call("member").patch(path, {"name": "www", "protected": True}).json()
        assert (body["name"], body["protected"]) == ("www", True)
        refusal = call("member").delete(path).json()
        assert (refusal["status"], refusal["code"]) == (409, "protected")
        assert call("member").patch(path, {"protected": False}).json()["protected"] is False

    def test_all_or_nothing(self, world: World, call: Api) -> None:
        path = f"vms/{world.machines['web'].pk}"
        assert call("member").patch(path, {"protected": True, "name": "cold"}).status_code == 409
        assert call("member").get(path).json()["protected"] is False

    def test_delete(self, world: World, call: Api) -> None:
        answer = call("owner").delete(f"vms/{world.machines['web'].pk}")
        assert answer.status_code == 202
        assert answer["Location"] == f"/api/v1/operations/{answer.json()['operation']['id']}"
        assert answer.json()["vm"]["status"] == "deleting"

    def test_an_action_that_the_state_does_not_allow(self, world: World, call: Api) -> None:
        problem = call("owner").post(f"vms/{world.machines['web'].pk}/actions/start").json()
        assert (problem["status"], problem["code"], problem["title"]) == (409, "wrong_state", "Conflict")
        assert problem["detail"] == "It is running already."

    def test_one_operation_at_a_time(self, world: World, call: Api) -> None:
        problem = call("owner").post(f"vms/{world.machines['busy'].pk}/actions/stop").json()
        assert (problem["status"], problem["code"]) == (409, "operation_in_progress")
        running = call("owner").get(f"vms/{world.machines['busy'].pk}").json()["operation"]["id"]
        assert problem["operation"] == running

    def test_an_action_takes_no_body_but_an_empty_one(self, world: World, call: Api) -> None:
        path = f"vms/{world.machines['web'].pk}/actions/stop"
        assert call("owner").post(path, {"force": True}).json()["code"] == "unknown_field"
        assert call("owner").post(path).status_code == 202

    def test_resize(self, world: World, call: Api) -> None:
        path = f"vms/{world.machines['cold'].pk}/actions/resize"
        assert call("owner").post(path, {"flavor": "small"}).json()["code"] == "same_flavor"
        assert call("owner").post(path, {"flavor": "large"}).status_code == 202

    @pytest.mark.parametrize("action", ["explode", "delete", "fork", "START", "start/"])
    def test_actions_that_there_are_not(self, world: World, call: Api, action: str) -> None:
        assert call("owner").post(f"vms/{world.machines['cold'].pk}/actions/{action}").status_code == 404


class TestClone:
    def ask(self, call: Api, source: VM, **changes: Any) -> Any:
        return call("owner").post(f"vms/{source.pk}/actions/clone", {"name": "copy", **changes})

    def test_the_answer_is_the_new_machine(self, world: World, call: Api) -> None:
        source = world.machines["cold"]
        answer = self.ask(call, source, mode="full")
        assert answer.status_code == 202
        vm, operation = answer.json()["vm"], answer.json()["operation"]
        assert vm["id"] != str(source.pk)
        assert (vm["name"], vm["status"], vm["flavor"], vm["image"]) == ("copy", "building", "small", "tiny")
        assert operation["resource"] == {"type": "vm", "id": vm["id"], "name": "copy"}
        assert answer["Location"] == f"/api/v1/operations/{operation['id']}"
        new = VM.objects.unscoped("test").get(pk=vm["id"])
        assert new.nics.get().mac != source.nics.get().mac
        assert new.boot_volume.layer_id != source.boot_volume.layer_id
        assert new.host_id == source.host_id

    def test_the_source_is_held(self, world: World, call: Api) -> None:
        source = world.machines["cold"]
        operation = self.ask(call, source).json()["operation"]["id"]
        shown = call("owner").get(f"vms/{source.pk}").json()
        assert shown["operation"]["id"] == operation
        assert not shown["actions"]["start"]["allowed"]
        listed = {vm["id"]: vm for vm in call("owner").get("vms").json()["results"]}
        assert listed[str(source.pk)]["operation"]["id"] == operation
        for ask in (
            call("owner").post(f"vms/{source.pk}/actions/start"),
            call("owner").delete(f"vms/{source.pk}"),
            self.ask(call, source, name="another", mode="linked"),
        ):
            assert (ask.status_code, ask.json()["code"]) == (409, "operation_in_progress")
            assert ask.json()["operation"] == operation

    def test_full_clones_of_one_that_is_off_only_read_it(self, world: World, call: Api) -> None:
        source = world.machines["cold"]
        for name in ("one", "two"):
            assert self.ask(call, source, name=name).status_code == 202
        told = call("owner").get(f"operations?target={source.pk}").json()["results"]
        assert [operation["resource"]["name"] for operation in told] == ["two", "one"], "its source is asked by its id"
        world.machines["cold"].refresh_from_db()
        web = world.machines["web"]
        assert self.ask(call, web, name="three").status_code == 202
        assert self.ask(call, web, name="four").json()["code"] == "operation_in_progress"

    def test_both_machines_tell_of_it(self, world: World, call: Api) -> None:
        source = world.machines["cold"]
        operation = self.ask(call, source).json()["operation"]["id"]
        told = [event for event in call("owner").get("events").json()["results"] if event["operation"] == operation]
        assert {event["kind"] for event in told} == {"vm.clone.requested", "vm.clone-asked"}
        assert {event["target"]["name"] for event in told} == {"copy", "cold"}

    def test_quota_counts_it_in_full(self, world: World, call: Api) -> None:
        used = call("owner").get("quotas/acme").json()["used"]
        Quota.objects.filter(tenant=world.acme).update(vms=used["vms"])
        refused = self.ask(call, world.machines["cold"])
        assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
        Quota.objects.filter(tenant=world.acme).update(vms=None)
        assert self.ask(call, world.machines["cold"]).status_code == 202
        now = call("owner").get("quotas/acme").json()["used"]
        assert (now["vms"], now["disk_gib"]) == (used["vms"] + 1, used["disk_gib"] + 1)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": "Not A Name"}, "name"),
            ({"name": ""}, "name"),
            ({"name": None}, "name"),
            ({"name": "x" * 64}, "name"),
            ({"mode": "deep"}, "mode"),
            ({"mode": None}, "mode"),
            ({"mode": 1}, "mode"),
            ({"flavor": "large"}, "flavor"),
            ({"tenant": "beta"}, "tenant"),
            ({"host": "one"}, "host"),
        ],
    )
    def test_bad_input_is_refused_at_its_field(
        self, world: World, call: Api, change: dict[str, Any], field: str
    ) -> None:
        before = rows()
        problem = self.ask(call, world.machines["cold"], **change).json()
        assert (problem["status"], [error["field"] for error in problem["errors"]]) == (400, [field])
        assert rows() == before

    def test_a_taken_name(self, world: World, call: Api) -> None:
        before = rows()
        refused = self.ask(call, world.machines["cold"], name="web")
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "name")
        assert rows() == before

    @pytest.mark.parametrize("mode", ["full", "linked"])
    def test_only_of_one_that_is_free(self, world: World, call: Api, mode: str) -> None:
        refused = self.ask(call, world.machines["busy"], mode=mode)
        assert (refused.status_code, refused.json()["code"]) == (409, "operation_in_progress")
        VM.objects.unscoped("test").filter(pk=world.machines["cold"].pk).update(is_missing=True)
        refused = self.ask(call, world.machines["cold"], mode=mode)
        assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")

    def test_a_chain_that_is_too_long(self, world: World, call: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vms.services.clone.MOST_LAYERS", 1)
        refused = self.ask(call, world.machines["cold"], mode="linked")
        assert (refused.status_code, refused.json()["code"]) == (409, "too_many_layers")
        assert self.ask(call, world.machines["cold"]).status_code == 202

    def test_a_cordoned_host_takes_no_clone(self, world: World, call: Api) -> None:
        call("admin").post("hosts/one/actions/cordon")
        refused = self.ask(call, world.machines["cold"])
        assert (refused.status_code, refused.json()["code"]) == (409, "no_capacity")

    def test_secrets_of_the_source_stay_as_hidden(self, world: World, call: Api) -> None:
        source = world.machines["cold"]
        VM.objects.unscoped("test").filter(pk=source.pk).update(user_data="#!/bin/sh\necho canary-77\n")
        answer = self.ask(call, source)
        assert b"canary-77" not in answer.content
        new = answer.json()["vm"]["id"]
        assert call("viewer").get(f"vms/{new}/user-data").status_code == 403
        assert "canary-77" in call("owner").get(f"vms/{new}/user-data").json()["user_data"]
        assert b"canary-77" not in call("owner").get("events").content


class TestBulk:
    def test_each_has_its_own_result(self, world: World, call: Api) -> None:
        ids = [str(world.machines[name].pk) for name in ("web", "cold", "foreign", "busy")] + [str(uuid7())]
        answer = call("owner").post("vms/bulk", {"action": "stop", "vms": [*ids, ids[0]]})
        assert answer.status_code == 200
        results = answer.json()["results"]
        assert [result["vm"] for result in results] == ids
        assert [result["status"] for result in results] == [202, 409, 404, 409, 404]
        assert [result["error"] and result["error"]["code"] for result in results] == [
            *(None, "wrong_state", "not_found", "operation_in_progress", "not_found")
        ]
        assert results[0]["operation"]["kind"] == "vm.stop"

    @pytest.mark.parametrize(
        "body",
        [{"action": "stop", "vms": []}, {"action": "x", "vms": [str(uuid7())]}, {"action": "stop", "vms": ["1"]}],
    )
    def test_bad_input(self, call: Api, body: dict[str, Any]) -> None:
        assert call("owner").post("vms/bulk", body).status_code == 400

    def test_not_too_many(self, call: Api) -> None:
        body = {"action": "stop", "vms": [str(uuid7()) for _ in range(101)]}
        assert call("owner").post("vms/bulk", body).json()["errors"][0]["field"] == "vms"


class TestConsole:
    def test_a_ticket(self, world: World, call: Api) -> None:
        answer = call("owner").post(f"vms/{world.machines['web'].pk}/console", {"kind": "display"})
        assert answer.status_code == 201
        body = answer.json()
        assert set(body) == {"ticket", "url", "expires_at"}
        assert body["url"] == f"/ws/console/{body['ticket']}"

    def test_of_a_machine_that_is_off(self, world: World, call: Api) -> None:
        answer = call("owner").post(f"vms/{world.machines['cold'].pk}/console", {"kind": "display"})
        assert answer.status_code == 409

    def test_the_kind_is_one_of_two(self, world: World, call: Api) -> None:
        problem = call("owner").post(f"vms/{world.machines['web'].pk}/console", {"kind": "x"}).json()
        assert problem["errors"][0]["field"] == "kind"


def rows() -> tuple[int, ...]:
    return VM.objects.unscoped("test").count(), Operation.objects.unscoped("test").count(), Nic.objects.count()


def test_the_world_is_as_its_words_say(world: World) -> None:
    assert world.machines["cold"].observed_power == Power.STOPPED


class TestStale:
    """A machine that was read before somebody else changed it."""

    def test_one_that_was_deleted_meanwhile_takes_no_action_and_no_quota(self, world: World) -> None:
        stale = world.machines["cold"]
        forget_machine(stale.pk)
        claims = Claim.objects.count()
        actor = actor_for(world.people["owner"])
        for act in (
            lambda: change_power(actor=actor, vm=stale, action=Action.START),
            lambda: resize(actor=actor, vm=stale, flavor="large"),
            lambda: delete_vm(actor=actor, vm=stale),
        ):
            with pytest.raises(NotFound):
                act()
        assert Claim.objects.count() == claims

    def test_it_is_judged_as_it_is_now(self, world: World) -> None:
        stale = world.machines["cold"]
        VM.objects.unscoped("test").filter(pk=stale.pk).update(observed_power=Power.RUNNING)
        with pytest.raises(Conflict) as refusal:
            resize(actor=actor_for(world.people["owner"]), vm=stale, flavor="large")
        assert refusal.value.code == "wrong_state"
