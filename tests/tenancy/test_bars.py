"""Roles that are worth less than they say: suspension, and a second factor that is asked for and missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from portal.core.errors import Conflict
from portal.tenancy import people, services
from portal.tenancy.gate import actor_for
from tests.tenancy.conftest import GiveFactor
from tests.web.conftest import browser  # noqa: F401  the fixture
from tests.world import Caller, World


@pytest.fixture
def suspended(world: World) -> World:
    world.acme.suspended_at, world.acme.suspended_for = timezone.now(), "unpaid since March"
    world.acme.save()
    return world


class TestSuspended:
    def test_reading_goes_on(self, suspended: World, call: Callable[..., Caller]) -> None:
        assert call("member").get(f"vms/{suspended.machines['web'].pk}").status_code == 200

    def test_the_api_says_why_nothing_changes(self, suspended: World, call: Callable[..., Caller]) -> None:
        answer = call("owner").post(f"vms/{suspended.machines['cold'].pk}/actions/start", {})
        assert answer.status_code == 403
        assert answer.json()["code"] == "tenant_suspended"
        assert "unpaid since March" in answer.json()["detail"]

    def test_the_pages_say_why(self, suspended: World, browser: Callable[..., object]) -> None:  # noqa: F811
        page = browser("member").get("/t/acme/vms/").content.decode()  # type: ignore[attr-defined]
        assert "unpaid since March" in page

    def test_no_console(self, suspended: World, call: Callable[..., Caller]) -> None:
        answer = call("owner").post(f"vms/{suspended.machines['web'].pk}/console", {"kind": "serial"})
        assert answer.json()["code"] == "tenant_suspended"

    def test_administrators_still_act(self, suspended: World, call: Callable[..., Caller]) -> None:
        assert call("admin").post(f"vms/{suspended.machines['cold'].pk}/actions/start", {}).status_code == 202

    def test_other_tenants_go_on(self, suspended: World, call: Callable[..., Caller]) -> None:
        path = f"vms/{suspended.machines['foreign'].pk}/actions/stop"
        assert call("foreign").post(path, {}).status_code == 202


class TestSecondFactorOfATenant:
    @pytest.fixture(autouse=True)
    def demanded(self, world: World, give_factor: GiveFactor) -> None:
        give_factor("owner")
        services.demand_second_factor(actor=actor_for(world.people["owner"]), tenant=world.acme, demanded=True)

    def test_who_has_one_goes_on(self, world: World, call: Callable[..., Caller]) -> None:
        assert call("owner").get(f"vms/{world.machines['web'].pk}").status_code == 200

    def test_who_has_none_gets_nothing(self, world: World, call: Callable[..., Caller]) -> None:
        answer = call("member").get(f"vms/{world.machines['web'].pk}")
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required")
        assert call("member").get("vms").json()["results"] == []
        assert call("member").get("quotas/acme").json()["code"] == "second_factor_required"

    def test_their_pages_lead_to_where_one_is_set_up(self, world: World, browser: Callable[..., object]) -> None:  # noqa: F811
        answer = browser("member").get("/t/acme/vms/")  # type: ignore[attr-defined]
        assert (answer.status_code, answer["Location"]) == (302, "/accounts/2fa/")

    def test_with_one_they_have_their_role_back(
        self, world: World, call: Callable[..., Caller], give_factor: GiveFactor
    ) -> None:
        give_factor("member")
        assert call("member").get(f"vms/{world.machines['web'].pk}").status_code == 200

    def test_recovery_codes_alone_are_none(
        self, world: World, call: Callable[..., Caller], give_factor: GiveFactor
    ) -> None:
        factor = give_factor("member")
        type(factor).objects.filter(pk=factor.pk).update(type="recovery_codes")
        assert call("member").get(f"vms/{world.machines['web'].pk}").status_code == 403

    def test_nobody_shuts_themselves_out(self, world: World) -> None:
        with pytest.raises(Conflict, match="second factor"):
            services.demand_second_factor(actor=actor_for(world.people["foreign"]), tenant=world.beta, demanded=True)


class TestSecondFactorOfTheStaff:
    def test_without_one_nobody_is_staff(
        self, world: World, call: Callable[..., Caller], give_factor: GiveFactor
    ) -> None:
        with pytest.raises(Conflict, match="second factor"):
            people.demand_of_staff(actor=actor_for(world.people["admin"]), demanded=True)
        give_factor("admin")
        people.demand_of_staff(actor=actor_for(world.people["admin"]), demanded=True)
        assert call("admin").get("hosts").status_code == 200
        answer = call("auditor").get("hosts")
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required")
        assert call("owner").get(f"vms/{world.machines['web'].pk}").status_code == 200, "others are not staff"
