"""Suspending, closing and purging a tenant: what is begun, and that it finds its end. No worker runs here."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.core.errors import Conflict, Invalid, NotFound
from portal.events.models import Event
from portal.operations.models import Operation
from portal.tenancy import selectors
from portal.tenancy.gate import SYSTEM, Actor, actor_for
from portal.tenancy.models import Membership, Tenant
from portal.tenancy.services import create_tenant
from tests.world import World, forget_machines
from vms import tenant_export
from vms.models import VM, Lifecycle, Power, Volume
from vms.services import tenants


@pytest.fixture
def admin(world: World) -> Actor:
    return actor_for(world.people["admin"])


def begun(world: World, kind: str) -> set[str]:
    rows = Operation.objects.unscoped("test").filter(tenant=world.acme, kind=kind)
    return set(rows.values_list("target_name", flat=True))


def ended(kind: str, state: str, power: str) -> None:
    """What a worker would have made of the operations of a kind."""
    rows = Operation.objects.unscoped("test").filter(kind=kind)
    ids = list(rows.values_list("target_id", flat=True))
    rows.update(state=state)
    VM.objects.unscoped("test").filter(pk__in=ids).update(observed_power=power, desired_power=power)


class TestSuspending:
    def test_machines_that_run_are_stopped(self, world: World, admin: Actor) -> None:
        tenants.suspend(actor=admin, tenant=world.acme, reason="unpaid")
        tenants.follow(timezone.now())
        assert begun(world, "vm.stop") == {"web"}, "busy is tried again, the others of acme's are off"
        assert begun(world, "vm.force-off") == {"paused"}
        assert Operation.objects.unscoped("test").filter(tenant=world.beta).count() == 0

    def test_a_second_look_begins_nothing_twice(self, world: World, admin: Actor) -> None:
        tenants.suspend(actor=admin, tenant=world.acme, reason="unpaid")
        for _ in range(3):
            tenants.follow(timezone.now())
        assert Operation.objects.unscoped("test").filter(kind="vm.stop").count() == 1

    def test_a_guest_that_does_not_listen_loses_its_power(self, world: World, admin: Actor) -> None:
        tenants.suspend(actor=admin, tenant=world.acme, reason="unpaid")
        tenants.follow(timezone.now())
        ended("vm.stop", "failed", Power.RUNNING)
        tenants.follow(timezone.now())
        assert begun(world, "vm.force-off") == {"paused", "web"}

    def test_machines_may_be_left_alone(self, world: World, admin: Actor) -> None:
        tenants.suspend(actor=admin, tenant=world.acme, reason="unpaid", stop_machines=False)
        tenants.follow(timezone.now())
        assert begun(world, "vm.stop") == set()

    def test_resuming_starts_what_was_stopped_and_nothing_else(self, world: World, admin: Actor) -> None:
        tenants.suspend(actor=admin, tenant=world.acme, reason="unpaid")
        tenants.follow(timezone.now())
        ended("vm.stop", "succeeded", Power.STOPPED)
        tenants.resume(actor=admin, tenant=world.acme)
        assert begun(world, "vm.start") == {"web"}
        tenants.follow(timezone.now())
        assert begun(world, "vm.stop") == {"web"}, "no new one"

    def test_twice(self, world: World, admin: Actor) -> None:
        tenants.suspend(actor=admin, tenant=world.acme, reason="unpaid")
        with pytest.raises(Conflict):
            tenants.suspend(actor=admin, tenant=world.acme, reason="again")
        with pytest.raises(Conflict):
            tenants.resume(actor=admin, tenant=world.beta)

    def test_a_reason_is_asked_for(self, world: World, admin: Actor) -> None:
        with pytest.raises(Invalid):
            tenants.suspend(actor=admin, tenant=world.acme, reason=" ")


class TestClosing:
    def test_its_members_see_it_no_more(self, world: World, admin: Actor) -> None:
        tenants.close(actor=admin, tenant=world.acme, confirmation="acme")
        owner = actor_for(world.people["owner"])
        assert owner.memberships == {}
        with pytest.raises(NotFound):
            selectors.any_tenant(owner, "acme")
        assert selectors.any_tenant(admin, "acme").status == "closed"

    def test_machines_go_to_the_bin_until_the_end(self, world: World, admin: Actor, settings: object) -> None:
        settings.BIN_HOURS = 0  # type: ignore[attr-defined]
        VM.objects.unscoped("test").filter(name="web").update(is_protected=True)
        tenants.close(actor=admin, tenant=world.acme, confirmation="acme", days=7)
        tenants.follow(timezone.now())
        assert begun(world, "vm.delete") == {"web", "cold", "paused"}
        assert begun(world, "vm.purge") == set()
        web = VM.objects.unscoped("test").get(pk=world.machines["web"].pk)
        assert (web.lifecycle, web.purge_at) == (Lifecycle.DELETING, world.acme.purge_at)

    @pytest.mark.parametrize("wrong", [{"confirmation": "beta"}, {"days": 0}, {"days": 9999}])
    def test_what_makes_no_sense(self, world: World, admin: Actor, wrong: dict[str, object]) -> None:
        with pytest.raises(Invalid):
            tenants.close(actor=admin, tenant=world.acme, **{"confirmation": "acme", **wrong})  # type: ignore[arg-type]

    def test_reopening(self, world: World, admin: Actor) -> None:
        tenants.close(actor=admin, tenant=world.acme, confirmation="acme")
        tenants.reopen(actor=admin, tenant=world.acme)
        assert actor_for(world.people["owner"]).memberships != {}
        with pytest.raises(Conflict):
            tenants.reopen(actor=admin, tenant=world.acme)

    def test_not_after_its_end_was_begun(self, world: World, admin: Actor) -> None:
        world.closed(days=0)
        with pytest.raises(Conflict):
            tenants.reopen(actor=admin, tenant=world.acme)


class TestPurging:
    def test_one_kind_after_the_other_until_nothing_is_left(self, world: World, admin: Actor) -> None:
        world.volume("data")
        world.closed(days=0)
        tenants.follow(timezone.now())
        assert begun(world, "volume.delete") == set(), "machines first"
        forget_machines(VM.objects.unscoped("test").filter(tenant=world.acme))
        tenants.follow(timezone.now())
        assert begun(world, "volume.delete") == {"data"}
        Volume.objects.unscoped("test").filter(tenant=world.acme).delete()
        tenants.follow(timezone.now())
        gone = Tenant.objects.unscoped("test").get(pk=world.acme.pk)
        assert gone.status == "purged"
        assert not Membership.objects.filter(tenant=gone).exists()
        assert Event.objects.unscoped("test").filter(tenant=gone, kind="tenant.purged").exists(), "the log stays"
        assert create_tenant(actor=SYSTEM, name="Acme", slug="acme").pk != gone.pk, "its slug is free"

    def test_not_before_its_time(self, world: World) -> None:
        forget_machines(VM.objects.unscoped("test").filter(tenant=world.acme))
        world.closed(days=1)
        tenants.follow(timezone.now())
        assert Tenant.objects.unscoped("test").get(pk=world.acme.pk).status == "closed"
        tenants.follow(timezone.now() + timedelta(days=2))
        assert Tenant.objects.unscoped("test").get(pk=world.acme.pk).status == "purged"


def test_the_export_has_what_there_is_and_no_secret(world: World) -> None:
    document = tenant_export.document(actor_for(world.people["owner"]), world.acme)
    assert {vm["name"] for vm in document["vms"]} == {"web", "cold", "paused", "busy"}
    assert {"username": "owner", "role": "owner"} in document["members"]
    assert "canary-of-user-data" not in str(document)
    assert str(world.host.pk) not in str(document)
