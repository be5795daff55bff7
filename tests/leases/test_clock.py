"""What becomes of a lease by the clock: each stage once, in order, however late or often one looks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from hosts.models.usage import QUARTER
from portal.core.errors import Conflict
from portal.core.units import size
from portal.events.models import Event
from portal.operations.states import State
from portal.quotas.services import set_limits
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
from tests.leases.conftest import DAY, Leased
from vms.models import VM, LeaseNotice, Lifecycle, Power, Snapshot, VmUsage
from vms.services import lease_clock, leases
from vms.services.delete import restore_vm
from vms.services.power import change_power
from vms.states import Action

HOUR = timedelta(hours=1)


def to_its_end(leased: Leased) -> None:
    """Warned in time, and now at the end of its lease: it is being stopped."""
    leased.look(4 * DAY)
    assert leased.look(6 * DAY + HOUR) == "ended"


class TestInTime:
    def test_one_stage_after_the_other(self, leased: Leased) -> None:
        assert leased.look(2 * DAY) == "running"
        assert leased.look(2 * DAY) == "warned"
        assert leased.look(5 * DAY) == "warned"
        assert leased.look(DAY + HOUR) == "ended"
        assert leased.look() == "ended"  # stops it
        assert leased.look() == "ended"  # takes the snapshot
        assert leased.look() == "kept"
        assert leased.look(2 * DAY) == "kept"
        assert leased.look(DAY) == "binned"
        assert leased.operations == ["vm.stop", "vm.snapshot", "vm.delete"]
        assert leased.told == ["warned", "ended", "kept", "binned"]
        assert leased.web.is_binned
        assert Snapshot.objects.unscoped("test").get(vm=leased.web, is_safety=True).name.startswith("End of lease")

    def test_however_often_one_looks(self, leased: Leased) -> None:
        to_its_end(leased)
        for _ in range(5):
            leased.look(timedelta(0), works=False)
        assert leased.operations == ["vm.stop"]
        leased.work()
        for _ in range(5):
            leased.look(timedelta(0), works=False)
        assert leased.operations == ["vm.stop", "vm.snapshot"]
        assert leased.told == ["warned", "ended"]

    def test_one_without_a_lease_is_left_alone(self, leased: Leased) -> None:
        leased.change(expires_at=None)
        assert leased.look(100 * DAY) == "running"
        assert leased.told == []

    def test_one_that_is_off_is_not_stopped(self, leased: Leased) -> None:
        leased.change(observed_power=Power.STOPPED)
        to_its_end(leased)
        leased.look()
        assert leased.operations == ["vm.snapshot"]


class TestLate:
    def test_a_clock_that_was_off_for_a_month_warns_first(self, leased: Leased) -> None:
        assert leased.look(40 * DAY) == "warned"
        assert leased.look(23 * HOUR) == "warned"
        assert leased.operations == []
        assert leased.look(2 * HOUR) == "ended"

    def test_a_clock_that_was_off_after_the_warning_waits_the_days_off(self, leased: Leased) -> None:
        leased.look(4 * DAY)
        assert leased.look(40 * DAY) == "ended"
        for _ in range(3):
            leased.look()
        assert leased.web.lease_stage == "kept"
        assert leased.look(2 * DAY) == "kept"
        assert leased.look(2 * DAY) == "binned"

    def test_nobody_is_stopped_while_a_mail_could_not_be_sent(self, leased: Leased, settings: Any) -> None:
        settings.EMAIL_BACKEND = "tests.tenancy.broken_mail.EmailBackend"
        leased.look(4 * DAY)
        for _ in range(30):
            assert leased.look(DAY) == "warned"
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        assert leased.look() == "warned"
        assert len(mail.outbox) == 2
        assert leased.look(23 * HOUR) == "warned"  # a day from the mail
        assert leased.look(2 * HOUR) == "ended"

    def test_where_nobody_has_an_address_it_goes_on_all_the_same(self, leased: Leased) -> None:
        for person in leased.world.people.values():
            person.email = ""
            person.save()
        to_its_end(leased)
        assert mail.outbox == []


class TestWhatIsInTheWay:
    def test_a_guest_that_does_not_listen_loses_its_power(self, leased: Leased) -> None:
        to_its_end(leased)
        leased.look(works=False)
        leased.work(State.FAILED)
        leased.look()
        assert leased.operations == ["vm.stop", "vm.force-off"]
        assert leased.web.status == "stopped"

    def test_one_that_is_busy_waits(self, leased: Leased) -> None:
        to_its_end(leased)
        leased.world.operation(leased.web)
        leased.look(works=False)
        assert leased.operations == []
        leased.work()
        leased.look()
        assert leased.operations == ["vm.stop"]

    def test_without_room_for_a_snapshot_the_bin_must_do(self, leased: Leased) -> None:
        set_limits(actor=SYSTEM, tenant=leased.world.acme, limits={"snapshots": 0})
        to_its_end(leased)
        leased.look()
        assert leased.look() == "kept"
        assert leased.operations == ["vm.stop"]
        told = Event.objects.unscoped("test").get(kind="vm.lease-kept").data["detail"]
        assert "No snapshot could be kept" in told
        assert leased.look(4 * DAY) == "binned"

    def test_a_snapshot_that_failed_is_not_tried_for_ever(self, leased: Leased) -> None:
        to_its_end(leased)
        leased.look()
        leased.look(works=False)
        leased.work(State.FAILED)
        Snapshot.objects.unscoped("test").filter(vm=leased.web, is_safety=True).delete()  # as its undo does
        assert leased.look() == "kept"
        assert "It broke." in Event.objects.unscoped("test").get(kind="vm.lease-kept").data["detail"]

    def test_a_protected_one_is_stopped_and_never_binned(self, leased: Leased) -> None:
        leased.change(is_protected=True)
        to_its_end(leased)
        for _ in range(3):
            leased.look()
        for _ in range(5):
            assert leased.look(30 * DAY) == "kept"
        assert leased.web.lifecycle == Lifecycle.READY
        assert "protected" in Event.objects.unscoped("test").get(kind="vm.lease-kept").data["detail"]
        leased.change(is_protected=False)
        assert leased.look() == "binned"

    def test_a_deletion_that_failed_is_tried_again_each_hour_and_told_once(self, leased: Leased) -> None:
        to_its_end(leased)
        for _ in range(3):
            leased.look()
        leased.look(4 * DAY, works=False)
        leased.work(State.FAILED)
        leased.look(timedelta(minutes=10))
        assert leased.operations.count("vm.delete") == 1
        leased.look(HOUR)
        assert leased.operations.count("vm.delete") == 2
        assert leased.told.count("binned") == 1
        assert leased.web.is_binned

    def test_what_goes_wrong_with_one_keeps_no_other_from_its_turn(
        self, leased: Leased, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leased.world.leased("cold", days=9)
        warn, failing = lease_clock._warn, leased.world.machines["cold"].pk

        def breaks(vm: VM, *rest: Any) -> bool:
            if vm.pk == failing:
                raise RuntimeError("a defect")
            return warn(vm, *rest)

        monkeypatch.setattr(lease_clock, "_warn", breaks)
        assert leased.look(5 * DAY) == "warned"

    def test_a_suspended_tenants_leases_stand_still(self, leased: Leased) -> None:
        """Its members can extend nothing meanwhile."""
        leased.look(4 * DAY)
        rows = Tenant.objects.unscoped("test").filter(pk=leased.world.acme.pk)
        rows.update(suspended_at=timezone.now())
        assert leased.look(60 * DAY) == "running"
        rows.update(suspended_at=None)
        assert leased.look() == "warned"
        assert leased.look(HOUR) == "warned"
        assert leased.operations == []


class TestAfterwards:
    def test_it_cannot_be_started_until_it_is_extended(self, leased: Leased) -> None:
        to_its_end(leased)
        leased.look()
        with pytest.raises(Conflict, match="extend it first"):
            change_power(actor=SYSTEM, vm=leased.web, action=Action.START)
        leases.extend(actor=SYSTEM, vm=leased.web)
        change_power(actor=SYSTEM, vm=leased.web, action=Action.START)

    def test_extended_it_is_warned_anew_before_its_next_end(self, leased: Leased) -> None:
        leased.look(4 * DAY)
        leases.extend(actor=SYSTEM, vm=leased.web)
        assert not LeaseNotice.objects.exists()
        assert leased.look(10 * DAY) == "running"
        assert leased.look(14 * DAY) == "warned"

    def test_the_same_date_again_changes_nothing(self, leased: Leased) -> None:
        """As a program says it that says each day what is to be."""
        leased.look(4 * DAY)
        leases.change(actor=SYSTEM, vm=leased.web, expires_at=leased.web.expires_at)
        assert leased.look() == "warned"
        assert leased.told == ["warned"]

    def test_back_from_the_bin_it_has_a_lease_again(self, leased: Leased) -> None:
        to_its_end(leased)
        for _ in range(3):
            leased.look()
        assert leased.look(4 * DAY) == "binned"
        restore_vm(actor=SYSTEM, vm=leased.web)
        assert leased.web.lease_stage == "running"
        assert leased.web.expires_at is not None
        assert leased.web.expires_at > timezone.now() + 29 * DAY

    def test_an_installation_without_a_bin_has_a_day_of_it(self, leased: Leased, settings: Any) -> None:
        settings.BIN_HOURS = 0
        to_its_end(leased)
        for _ in range(3):
            leased.look()
        leased.look(4 * DAY)
        assert leased.web.purge_at == leased.now + DAY


class TestMail:
    def test_it_says_what_the_machine_did_and_leads_to_it(self, leased: Leased) -> None:
        values = {"memory_mib": 1, "risk_ms": 0, "broken_ms": 0, "read_bytes": 0, "written_bytes": 0, "requests": 0}
        for quarter in range(4):
            at = leased.now + 3 * DAY + quarter * timedelta(seconds=QUARTER)
            used = {"cpu_ms": 9_000, "wait_ms": 0, "received_bytes": 1024**2, "sent_bytes": 2 * 1024**2}
            VmUsage.objects.create(vm=leased.web, step=QUARTER, at=at, length_ms=QUARTER * 1000, **used, **values)
        leased.look(4 * DAY)
        assert sorted(each.to[0] for each in mail.outbox) == ["member@example.org", "owner@example.org"]
        sent = mail.outbox[0]
        assert sent.subject == "web: its lease ends soon"
        assert "1.0 % of its CPUs" in sent.body
        assert f"{size(4 * 1024**2)} came in and {size(8 * 1024**2)} went out" in sent.body
        assert "nobody opened its console. It looks idle." in sent.body
        assert f"/t/acme/vms/{leased.web.pk}/#lease" in sent.body
        assert "&" not in sent.body

    def test_one_mail_for_all_machines_of_a_person(self, leased: Leased) -> None:
        leased.world.leased("cold", days=10)
        leased.look(4 * DAY)
        assert [each.subject for each in mail.outbox] == [mail.outbox[0].subject] * 2
        assert mail.outbox[0].subject.endswith("and 1 more")
        assert "cold (" in mail.outbox[0].body
        assert "web (" in mail.outbox[0].body

    def test_each_person_once(self, leased: Leased) -> None:
        leased.look(4 * DAY)
        for _ in range(3):
            leased.look()
        assert len(mail.outbox) == 2

    def test_who_died_over_it_is_made_up_for(self, leased: Leased) -> None:
        leased.look(4 * DAY, sends=False)
        LeaseNotice.objects.update(claimed_at=leased.now)
        leased.look()
        assert mail.outbox == []
        leased.look(timedelta(minutes=11))
        assert len(mail.outbox) == 2

    def test_who_has_left_is_told_nothing_and_keeps_nobody_waiting(self, leased: Leased) -> None:
        leased.look(4 * DAY, sends=False)
        leased.world.acme.memberships.filter(user=leased.world.people["member"]).delete()
        leased.look()
        assert [each.to[0] for each in mail.outbox] == ["owner@example.org"]
        assert leased.look(7 * DAY) == "ended"
