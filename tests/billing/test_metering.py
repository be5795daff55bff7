"""Intervals: what opens and closes them, why, and that they add up whatever the clock does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.billing import metering, usage
from portal.billing.metered import Metered, MeteredQuerySet
from portal.billing.meters import Meter
from portal.billing.models import Immutable, Interval
from portal.quotas import ledger
from portal.quotas.models import Claim
from portal.tenancy.gate import SYSTEM
from tests.billing.conftest import START, Clock
from tests.world import World
from vms import metered
from vms.audit import books, rows
from vms.audit.findings import Kind
from vms.models import VM, Image, Lifecycle, Nic, Power, Snapshot, Volume
from vms.services.delete import delete_vm
from vms.workflows.create import forget_machine

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def vm_rows(vm: VM) -> Any:
    return VM.objects.unscoped("test").filter(pk=vm.pk)


def intervals(resource_id: object) -> list[Interval]:
    return list(Interval.objects.unscoped("test").filter(resource_id=resource_id))


def open_of(resource_id: object) -> dict[tuple[str, str], int]:
    return {(each.meter, each.grade): each.amount for each in intervals(resource_id) if each.until is None}


def wrong() -> list[str]:
    found = rows.load(rows.note())
    return [finding.kind for finding in books._metered(found)]


class TestWhatIsMetered:
    def test_a_machine_that_runs(self, world: World) -> None:
        web = world.machines["web"]
        assert open_of(web.pk) == {("vcpu", "burstable"): 1, ("memory", "burstable"): 128, ("address", ""): 1}
        assert open_of(web.boot_volume.pk) == {("disk", "standard"): 1}
        assert wrong() == []

    def test_one_that_is_off_keeps_its_place(self, world: World) -> None:
        cold = world.machines["cold"]
        held = {("vcpu-off", "burstable"): 1, ("memory-off", "burstable"): 128, ("address", ""): 1}
        assert open_of(cold.pk) == held

    def test_power_that_changes_ends_one_and_begins_the_other(self, world: World) -> None:
        web = world.machines["web"]
        vm_rows(web).update(observed_power=Power.STOPPED)
        assert open_of(web.pk)["vcpu-off", "burstable"] == 1
        ended = next(each for each in intervals(web.pk) if each.meter == Meter.VCPU)
        begun = next(each for each in intervals(web.pk) if each.meter == Meter.VCPU_OFF)
        assert ended.until == begun.since

    def test_what_is_built_costs_nothing_until_it_is_there(self, world: World) -> None:
        vm = world.vm("new", lifecycle=Lifecycle.BUILDING)
        assert not intervals(vm.pk)
        vm_rows(vm).update(lifecycle=Lifecycle.READY)
        assert len(open_of(vm.pk)) == 3
        assert len(open_of(vm.boot_volume.pk)) == 1

    def test_what_never_became_usable_was_never_metered(self, world: World) -> None:
        vm = world.vm("new", lifecycle=Lifecycle.BUILDING)
        boot = vm.boot_volume.pk
        forget_machine(vm.pk)
        assert not intervals(vm.pk)
        assert not intervals(boot)

    def test_a_delete_ends_it_at_the_request(self, world: World) -> None:
        web = world.machines["web"]
        data = world.volume("data", vm=web)
        world.snapshot()
        delete_vm(actor=SYSTEM, vm=web)
        assert open_of(web.pk) == {}
        assert open_of(web.boot_volume.pk) == {}
        assert open_of(data.pk) == {("disk", "standard"): 2}, "a volume of data survives its machine"

    def test_in_the_bin_its_disks_and_snapshots_count(self, world: World) -> None:
        web, point = world.machines["web"], world.snapshot()
        delete_vm(actor=SYSTEM, vm=web)
        vm_rows(web).update(binned_at=START)
        assert open_of(web.pk) == {}
        assert open_of(web.boot_volume.pk) == {("bin", ""): 1}
        assert open_of(point.pk) == {("bin", ""): 1}
        boot = web.boot_volume.pk
        forget_machine(web.pk)
        assert (open_of(boot), open_of(point.pk)) == ({}, {})
        assert wrong() == []

    def test_a_volume_that_moves_has_another_grade(self, world: World) -> None:
        data = world.volume()
        layer = data.layer
        layer.pool = world.pool("fast")
        layer.save()
        Volume.objects.unscoped("test").filter(pk=data.pk).update(layer=layer)
        assert open_of(data.pk) == {("disk", "fast"): 2}

    def test_an_address_that_comes_later(self, world: World) -> None:
        web = world.machines["web"]
        Nic.objects.create(vm=web, cluster_id=world.host.cluster_id, mac="52:54:00:00:00:01", ip="10.75.9.9")
        assert open_of(web.pk)["address", ""] == 2
        Nic.objects.filter(vm=web, ip="10.75.9.9").delete()
        assert open_of(web.pk)["address", ""] == 1

    def test_images_and_backups(self, world: World) -> None:
        image, backup = world.own_image(state="pending"), world.backup()
        assert open_of(image.pk) == {}
        Image.objects.unscoped("test").filter(pk=image.pk).update(state="ready")
        assert open_of(image.pk) == {("image", ""): 40}
        assert open_of(backup.pk) == {("backup", ""): 40}
        assert not intervals(world.image.pk), "what is the provider's costs nobody"

    def test_a_machine_that_its_host_lost_is_off(self, world: World) -> None:
        web = world.machines["web"]
        vm_rows(web).update(is_missing=True)
        assert ("vcpu-off", "burstable") in open_of(web.pk)


class TestSeam:
    def test_everything_that_holds_quota_is_metered(self) -> None:
        """A model that says what it wants of the quota is metered, but for what is only on its way."""
        holding = {
            model.__name__ for model in apps.get_models() if isinstance(getattr(model, "wanted", None), property)
        }
        assert {model.__name__ for model in apps.get_models() if issubclass(model, Metered)} == (
            holding - {"ImageUpload"} | {"Nic"}
        )

    def test_each_of_them_has_the_queryset(self) -> None:
        for model in apps.get_models():
            if issubclass(model, Metered):
                assert isinstance(model._default_manager.none(), MeteredQuerySet), model
                assert {field.name for field in model._meta.get_fields()} >= model.METERED
                assert model.METERED

    def test_it_belongs_into_a_transaction(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transaction.get_connection(), "in_atomic_block", False)
        with pytest.raises(RuntimeError):
            metering.follow("vm", [])

    def test_what_changes_nothing_costs_no_intervals(self, world: World) -> None:
        with CaptureQueriesContext(connection) as queries:
            vm_rows(world.machines["web"]).update(desired_power=Power.STOPPED)
        assert not [query for query in queries if "billing_interval" in query["sql"]]

    def test_as_many_queries_for_one_as_for_all(self, world: World) -> None:
        counts = []
        for names in (["web"], ["busy", "paused", "foreign"]):
            ids = [world.machines[name].pk for name in names]
            with CaptureQueriesContext(connection) as queries:
                VM.objects.unscoped("test").filter(pk__in=ids).update(observed_power=Power.STOPPED)
            counts.append(len(queries))
        assert counts[0] == counts[1]

    def test_intervals_are_never_changed_or_removed(self, world: World) -> None:
        found = intervals(world.machines["web"].pk)[0]
        all_of_them = Interval.objects.unscoped("test")
        for attempt in (found.save, found.delete, all_of_them.delete, lambda: all_of_them.update(amount=1)):
            with pytest.raises(Immutable):
                attempt()

    def test_what_was_there_before_is_metered_from_now_on(self, world: World) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM billing_interval")
        assert set(wrong()) == {Kind.METERED_WRONG}
        metered.follow_all()
        assert wrong() == []

    def test_the_audit_finds_what_is_metered_of_nothing(self, world: World) -> None:
        Interval.objects.create(
            tenant=world.acme, resource_type="vm", resource_id=world.acme.pk, meter="vcpu", amount=1, since=START
        )
        assert wrong() == [Kind.METERED_WITHOUT_RESOURCE]


class TestCauses:
    def test_a_delete_is_why(self, world: World) -> None:
        web = world.machines["web"]
        delete_vm(actor=SYSTEM, vm=web)
        (ended,) = [each for each in intervals(web.pk) if each.meter == Meter.VCPU]
        assert ended.closed_by is not None
        assert ended.closed_by.kind == "vm.delete.requested"
        (disk,) = intervals(web.boot_volume.pk)
        assert disk.closed_by == ended.closed_by

    def test_power_seen_on_the_host_is_why(self, world: World) -> None:
        from vms import observed

        web = world.machines["web"]
        observed.note(web.pk, None if web.is_missing else Power.STOPPED)  # type: ignore[arg-type]
        (begun,) = [each for each in intervals(web.pk) if each.meter == Meter.VCPU_OFF]
        assert begun.opened_by is not None
        assert begun.opened_by.kind == "vm.power-changed"


# -- sums ------------------------------------------------------------------------------------------------------------

steps = st.timedeltas(-3 * HOUR, 40 * 24 * HOUR)  # clocks are set back, and months go by
changes = st.sampled_from(
    [
        {"observed_power": "running"},
        {"observed_power": "stopped"},
        {"vcpus": 4},
        {"vcpus": 1},
        {"lifecycle": "deleting"},
        {"lifecycle": "ready"},
        {"service_class": "guaranteed"},
        {"service_class": "burstable"},
    ]
)
lives = st.lists(st.tuples(steps, changes, st.sampled_from(["once", "twice", "crash"])), max_size=12)


class Crash(Exception):
    pass


def live(vm: VM, clock: Clock, life: list[tuple[timedelta, dict[str, Any], str]]) -> Iterator[tuple[datetime, VM]]:
    """The machine as it was from each moment on; what crashed before it was committed never happened."""
    now = vm_rows(vm).get()
    yield START, now
    moment = START
    for step, change, how in life:
        clock.go(step)
        with suppress(Crash), transaction.atomic():
            vm_rows(vm).update(**change)
            if how == "twice":
                vm_rows(vm).update(**change)
            if how == "crash":
                raise Crash
        before, now = now, vm_rows(vm).get()
        if metered._of_machine(before, 0) != metered._of_machine(now, 0):
            moment = max(moment, clock.now)
            yield moment, now


def expected(story: list[tuple[datetime, VM]], since: datetime, until: datetime) -> dict[tuple[str, str], Fraction]:
    """vCPU-hours by the wall clock, by nothing but the story."""
    found: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for (begin, vm), (end, _) in pairwise([*story, (datetime.max.replace(tzinfo=UTC), story[-1][1])]):
        length = (min(end, until) - max(begin, since)) // timedelta(microseconds=1)
        if vm.lifecycle == "ready" and length > 0:
            meter = "vcpu-off" if vm.observed_power == "stopped" else "vcpu"
            found[meter, vm.service_class] += Fraction(vm.vcpus * length, 3_600_000_000)
    return dict(found)


@pytest.fixture
def machine(world: World, clock: Clock) -> VM:
    return world.vm("metered")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=lives, begin=steps, length=st.timedeltas(timedelta(microseconds=1), 400 * 24 * HOUR))
def test_sums_are_the_wall_clock(
    machine: VM, clock: Clock, life: list[tuple[timedelta, dict[str, Any], str]], begin: timedelta, length: timedelta
) -> None:
    since = START + begin
    until = since + length
    with suppress(Crash), transaction.atomic():  # each example finds the machine as it was
        clock.now = START
        story = list(live(machine, clock, life))
        rows = Interval.objects.unscoped("test").filter(resource_id=machine.pk, meter__startswith="vcpu")
        found = {(each.meter, each.grade): each.quantity for each in usage.sums(rows, since, until) if each.quantity}
        assert found == expected(story, since, until)
        _require_order(list(rows))
        raise Crash


def _require_order(found: list[Interval]) -> None:
    """None runs backwards, and no two overlap."""
    assert all(each.until is None or each.since <= each.until for each in found)
    for before, after in pairwise(sorted(found, key=lambda each: (each.since, each.until is None, each.until))):
        assert before.until is not None
        assert before.until <= after.since


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=lives, cuts=st.lists(st.timedeltas(timedelta(0), 200 * 24 * HOUR), max_size=5))
def test_parts_of_a_period_sum_up_to_it(
    machine: VM, clock: Clock, life: list[tuple[timedelta, dict[str, Any], str]], cuts: list[timedelta]
) -> None:
    """Wherever it is cut: at the ends of months, in the night of a change of clocks, in the middle of a second."""
    with suppress(Crash), transaction.atomic():
        clock.now = START
        list(live(machine, clock, life))
        rows = Interval.objects.unscoped("test").filter(resource_id=machine.pk)
        moments = sorted({START, START + 200 * 24 * HOUR, *(START + each for each in cuts)})
        whole = sum(each.quantity for each in usage.sums(rows, moments[0], moments[-1]))
        parts = [each.quantity for one, other in pairwise(moments) for each in usage.sums(rows, one, other)]
        assert sum(parts) == whole
        raise Crash


def test_claims_and_meters_tell_the_same_of_what_is_there(world: World) -> None:
    """Two books, kept apart: the vCPUs of acme's machines."""
    vm_rows(world.vm("third")).update(vcpus=4)
    vms = VM.objects.unscoped("test").filter(tenant=world.acme)
    for vm in vms:
        ledger.hold(vm.tenant_id, vm.pk, {"vms": 1, **vm.wanted}, {})
    claimed = sum(Claim.objects.filter(account_id=world.acme.pk, resource="vcpus").values_list("amount", flat=True))
    held = Interval.objects.unscoped("test").filter(tenant=world.acme, until=None, meter__startswith="vcpu")
    assert sum(held.values_list("amount", flat=True)) == claimed


def test_snapshots_that_are_gone_cost_nothing(world: World) -> None:
    point = world.snapshot()
    assert open_of(point.pk) == {("snapshot", ""): 1}
    Snapshot.objects.unscoped("test").filter(pk=point.pk).update(state="gone")
    assert open_of(point.pk) == {}
