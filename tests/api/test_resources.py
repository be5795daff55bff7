"""Everything beside machines: operations, tenants, quotas, hosts, catalogue, events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from portal.operations.models import Operation
from portal.operations.services import active_on
from portal.operations.states import State
from tests.world import Caller, World

Api = Callable[..., Caller]
NO_DATA = {"snapshots": 0, "image_mib": 0, "backup_mib": 0}
DATA_LIMITS = {"snapshots": 50, "image_mib": 50 * 1024, "backup_mib": 200 * 1024}


def busy(world: World) -> Operation:
    operation = active_on("vm", world.machines["busy"].pk)
    assert operation is not None
    return operation


def write(operation: Operation, **fields: Any) -> None:
    Operation.objects.unscoped("test").filter(pk=operation.pk).update(**fields)


class TestOperations:
    def test_steps_and_progress(self, world: World, call: Api) -> None:
        operation = busy(world)
        first = operation.steps.all()[0]
        first.state, first.progress = "running", 0.5
        first.save()
        write(operation, state=State.RUNNING, started_at=timezone.now())
        body = call("viewer").get(f"operations/{operation.pk}").json()
        assert (body["status"], body["step"]) == ("running", first.name)
        total = sum(step.weight for step in operation.steps.all())
        assert body["progress"] == round(100 * 0.5 * first.weight / total)
        told = {"name", "title", "state", "progress", "detail", "started_at", "finished_at"}
        assert set(body["steps"][0]) == told | {"done_bytes", "total_bytes", "seconds_left"}

    def test_a_failure_is_told_as_a_problem(self, world: World, call: Api) -> None:
        error = {"code": "no_space", "title": "Failed", "detail": "The storage of the host is full."}
        write(busy(world), state=State.FAILED, error=error, finished_at=timezone.now())
        (body,) = call("owner").get("operations?status=failed").json()["results"]
        assert body["error"] == {"type": "about:blank", **error}
        assert body["cancellable"] is False

    def test_filters(self, world: World, call: Api) -> None:
        target = world.machines["busy"].pk
        for query, found in (("", 1), ("?status=queued", 1), ("?status=failed", 0), (f"?target={target}", 1)):
            assert len(call("owner").get(f"operations{query}").json()["results"]) == found, query
        assert call("owner").get("operations?target=1").status_code == 400

    def test_cancel(self, world: World, call: Api) -> None:
        path = f"operations/{busy(world).pk}/actions/cancel"
        assert call("owner").post(path).status_code == 202
        assert call("owner").post(path).status_code == 202, "asking twice is harmless"
        write(busy(world), state=State.CANCELLED)
        assert call("owner").get("operations?status=cancelled").json()["results"][0]["cancellable"] is False

    def test_cancel_of_what_has_ended(self, world: World, call: Api) -> None:
        operation = busy(world)
        write(operation, state=State.SUCCEEDED)
        assert call("owner").post(f"operations/{operation.pk}/actions/cancel").json()["code"] == "operation_finished"

    def test_waiting_for_what_has_ended_does_not_wait(self, world: World, call: Api) -> None:
        operation = busy(world)
        write(operation, state=State.SUCCEEDED, finished_at=timezone.now())
        began = time.monotonic()
        body = call("owner").get(f"operations/{operation.pk}?wait=30").json()
        assert (body["status"], body["progress"]) == ("succeeded", 100)
        assert time.monotonic() - began < 5

    def test_waiting_is_over_when_its_time_is(self, world: World, call: Api) -> None:
        began = time.monotonic()
        assert call("owner").get(f"operations/{busy(world).pk}?wait=1").json()["status"] == "queued"
        assert time.monotonic() - began >= 1

    def test_waiting_ends_with_the_operation(self, world: World, call: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        operation = busy(world)
        looks = iter([True, False])

        def look(id: object) -> bool:
            goes_on = next(looks)
            if not goes_on:
                write(operation, state=State.SUCCEEDED, finished_at=timezone.now())
            return goes_on

        monkeypatch.setattr("portal.operations.selectors.is_active", look)
        assert call("owner").get(f"operations/{operation.pk}?wait=30").json()["status"] == "succeeded"

    @pytest.mark.parametrize("wait", ["x", "1.5", "", "1e3", "9" * 30])
    def test_bad_waits(self, world: World, call: Api, wait: str) -> None:
        assert call("owner").get(f"operations/{busy(world).pk}?wait={wait}").status_code == 400

    @pytest.mark.parametrize(("wait", "seconds"), [("-1", 0), ("0", 0), ("1000000000", 30)])
    def test_waits_are_capped(self, wait: str, seconds: int) -> None:
        from portal.api.operations import _seconds

        assert _seconds(wait) == seconds


class TestTenants:
    def test_a_new_one(self, call: Api) -> None:
        answer = call("admin").post("tenants", {"name": "Gamma & Co", "slug": "gamma"})
        assert (answer.status_code, answer["Location"]) == (201, "/api/v1/tenants/gamma")
        assert call("admin").post("tenants", {"name": "x", "slug": "gamma"}).json()["code"] == "duplicate"
        quota = call("admin").get("quotas/gamma").json()
        assert quota["used"] == {"vms": 0, "vcpus": 0, "memory_mib": 0, "disk_gib": 0} | NO_DATA

    @pytest.mark.parametrize(
        ("field", "value"), [("slug", "A b"), ("slug", "../x"), ("name", " "), ("name", "a\u202eb")]
    )
    def test_bad_names(self, call: Api, field: str, value: str) -> None:
        problem = call("admin").post("tenants", {"name": "ok", "slug": "ok", field: value}).json()
        assert (problem["status"], problem["errors"][0]["field"]) == (400, field)

    def test_by_slug_and_by_id(self, world: World, call: Api) -> None:
        by_slug = call("viewer").get("tenants/acme").json()
        assert by_slug == call("viewer").get(f"tenants/{world.acme.pk}").json()
        assert by_slug["role"] == "viewer"

    def test_members(self, call: Api) -> None:
        owner = call("owner")
        roles = {member["username"]: member["role"] for member in owner.get("tenants/acme/members").json()["results"]}
        assert roles == {"owner": "owner", "member": "member", "viewer": "viewer"}
        assert owner.put("tenants/acme/members/foreign", {"role": "viewer"}).json()["role"] == "viewer"
        assert owner.put("tenants/acme/members/nobody", {"role": "viewer"}).json()["code"] == "unknown_user"
        assert owner.put("tenants/acme/members/viewer", {"role": "god"}).status_code == 400
        assert owner.delete("tenants/acme/members/nobody").status_code == 404

    def test_the_last_owner_stays(self, call: Api) -> None:
        assert call("owner").delete("tenants/acme/members/owner").json()["code"] == "last_owner"
        assert call("owner").put("tenants/acme/members/owner", {"role": "viewer"}).json()["code"] == "last_owner"


class TestQuotas:
    def test_limits_and_use(self, call: Api) -> None:
        body = call("viewer").get("quotas/acme").json()
        assert body["used"] == {"vms": 4, "vcpus": 4, "memory_mib": 512, "disk_gib": 4} | NO_DATA
        assert body["limits"] == {"vms": 10, "vcpus": 20, "memory_mib": 16384, "disk_gib": 200} | DATA_LIMITS
        (listed,) = call("viewer").get("quotas").json()["results"]
        assert listed == body

    def test_to_write(self, call: Api) -> None:
        body = call("admin").put("quotas/acme", {"vms": 1, "vcpus": None}).json()
        assert body["limits"] == {"vms": 1, "vcpus": None, "memory_mib": 16384, "disk_gib": 200} | DATA_LIMITS

    @pytest.mark.parametrize("value", [-1, 2**31, 2**63, 2**64, 1.5, "4", True, [4], {}])
    def test_bad_limits(self, call: Api, value: Any) -> None:
        problem = call("admin").put("quotas/acme", {"vms": value}).json()
        assert (problem["status"], problem["errors"][0]["field"]) == (400, "vms")

    def test_unknown_limits(self, call: Api) -> None:
        assert call("admin").put("quotas/acme", {"cats": 1}).json()["code"] == "unknown_field"


class TestHosts:
    def test_one(self, world: World, call: Api) -> None:
        body = call("auditor").get("hosts/one").json()
        assert body == call("auditor").get(f"hosts/{world.host.pk}").json()
        assert body["health"] == "ready"
        assert body["capacity"] == {"vcpus": 512, "memory_mib": 512 * 1024 - 1024, "disk_gib": 4096}
        assert body["claimed"] == {"vcpus": 5, "memory_mib": 640, "disk_gib": 5}
        assert body["policy"] == {
            "cpu_ratio": 8.0,
            "memory_ratio": 1.0,
            "memory_reserved_mib": 1024,
            "dedicated_cpus": 0,
        }

    def test_a_new_one_is_checked(self, call: Api) -> None:
        answer = call("admin").post("hosts", {"name": "two", "uri": "qemu+ssh://two/system"})
        body = answer.json()
        assert answer["Location"] == f"/api/v1/operations/{body['operation']['id']}"
        assert body["operation"]["resource"] == {"type": "host", "id": body["host"]["id"], "name": "two"}
        assert body["host"]["health"] == "pending"

    @pytest.mark.parametrize("uri", ["file:///etc/passwd", "http://x", "", "javascript:alert(1)", "x"])
    def test_bad_addresses(self, call: Api, uri: str) -> None:
        problem = call("admin").post("hosts", {"name": "two", "uri": uri}).json()
        assert (problem["status"], problem["errors"][0]["field"]) == (400, "uri")

    def test_policy(self, call: Api) -> None:
        body = call("admin").patch("hosts/one", {"cpu_ratio": 2.5}).json()
        assert body["policy"] == {
            "cpu_ratio": 2.5,
            "memory_ratio": 1.0,
            "memory_reserved_mib": 1024,
            "dedicated_cpus": 0,
        }

    @pytest.mark.parametrize("value", [0, -1, 65, 1e400, "NaN", "Infinity", True, None, [], "1,5", 1.234])
    def test_bad_policy(self, call: Api, value: Any) -> None:
        raw = b'{"cpu_ratio": 1e400}' if value == 1e400 else None
        problem = call("admin").patch("hosts/one", raw or {"cpu_ratio": value}).json()
        assert (problem["status"], problem["errors"][0]["field"]) == (400, "cpu_ratio")

    def test_cordon(self, call: Api) -> None:
        assert call("admin").post("hosts/one/actions/cordon").json()["state"] == "cordoned"
        new = {"name": "new", "image": "tiny", "flavor": "small"}
        assert call("owner").post("vms", new).json()["code"] == "no_capacity"
        assert call("admin").post("hosts/one/actions/uncordon").json()["state"] == "enabled"
        assert call("owner").post("vms", new).status_code == 202


class TestCatalogue:
    def test_a_retired_flavor(self, call: Api) -> None:
        assert call("admin").patch("flavors/small", {"active": False}).json()["active"] is False
        assert [each["slug"] for each in call("owner").get("flavors").json()["results"]] == ["large"]
        assert call("owner").get("flavors/small").status_code == 404
        assert call("admin").patch("flavors/small", {"active": True}).json()["active"] is True

    def test_a_retired_image(self, call: Api) -> None:
        assert call("admin").patch("images/tiny", {"active": False}).json()["active"] is False
        assert call("owner").get("images").json()["results"] == []
        assert call("owner").get("images/tiny").status_code == 404
        assert call("admin").patch("images/tiny", {"active": True}).json()["active"] is True

    def test_networks(self, call: Api) -> None:
        (network,) = call("owner").get("networks").json()["results"]
        assert network == call("owner").get("networks/default").json()
        assert call("owner").get("networks/other").status_code == 404


class TestEvents:
    def test_what_somebody_did(self, world: World, call: Api) -> None:
        vm = world.machines["web"]
        call("member").patch(f"vms/{vm.pk}", {"name": "www"})
        event = call("viewer").get(f"events?target={vm.pk}").json()["results"][0]
        assert (event["kind"], event["actor"], event["source"]) == ("vm.renamed", "member", "token test")
        assert event["target"] == {"type": "vm", "id": str(vm.pk), "name": "www"}
        assert event["data"] == {"before": {"name": "web"}, "after": {"name": "www"}}
        assert event["request_id"]

    def test_the_provider_is_seen_by_the_tenant(self, world: World, call: Api) -> None:
        call("admin").post(f"vms/{world.machines['web'].pk}/actions/stop")
        assert call("viewer").get("events?tenant=acme").json()["results"][0]["actor"] == "admin"
