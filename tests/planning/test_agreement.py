"""What a plan says of quota, price and refusal is what applying it does; where something came between, it says so."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.billing import rates
from portal.billing import selectors as billing
from portal.billing.services import NewPrice, create_book
from portal.core import clocks
from portal.core.errors import DomainError, NotFound
from portal.operations import engine
from portal.operations.models import Operation
from portal.quotas import selectors as quotas
from portal.quotas.services import set_limits
from portal.tenancy.gate import SYSTEM, Actor, actor_for
from tests.audit.mirror import mirrored
from tests.world import World
from vms.models import VM, Flavor, ImageCopy, Plan, Volume
from vms.planning import services
from vms.planning.kinds import Result
from vms.planning.told import _price, _usage, told
from vms.services.power import change_power
from vms.states import Action

pytestmark = pytest.mark.django_db

FLAVORS = ("small", "large", "wide", "small-best")
machines = st.integers(0, 7)
create = st.tuples(st.just("vm.create"), st.sampled_from(FLAVORS), st.sampled_from(("a", "b", "c", "web")))
resize = st.tuples(st.just("vm.resize"), machines, st.sampled_from(FLAVORS))
clone = st.tuples(
    st.just("vm.clone"), machines, st.sampled_from(("d", "e", "web")), st.sampled_from(("full", "linked"))
)
delete = st.tuples(st.just("vm.delete"), machines, st.booleans())
limits = st.tuples(
    st.just("quota.change"),
    st.sampled_from(("vms", "vcpus", "memory_mib", "disk_gib")),
    st.sampled_from((None, 0, 4, 6, 1024)),
)
volume = st.tuples(st.just("volume.create"), st.sampled_from((1, 2, 8)))
grow = st.tuples(st.just("volume.grow"), machines, st.sampled_from((1, 3, 9)))
remove = st.tuples(st.just("volume.delete"), machines)
switch = st.tuples(st.just("switch"), machines)
planned = st.one_of(create, create, resize, clone, delete, volume, grow, remove, limits)
steps = st.lists(st.tuples(planned, st.one_of(st.none(), st.none(), planned, switch)), min_size=1, max_size=5)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_plan_and_apply_agree(world: World, steps: list[tuple[Any, Any]]) -> None:
    with transaction.atomic():
        _make_ready(world)
        for step, between in steps:
            _plan_and_apply(world, step, between)
        transaction.set_rollback(True)


def _make_ready(world: World) -> None:
    """A host in memory, limits that are soon reached, prices with something included."""
    Operation.objects.unscoped("test").all().delete()
    size = {"memory_mib": 128, "disk_gib": 1}
    Flavor.objects.create(slug="wide", name="Wide", vcpus=128, **size)
    Flavor.objects.create(slug="small-best", name="Best effort", vcpus=1, service_class="best-effort", **size)
    mirrored(world)
    at = timezone.now()
    there = {"sha256": world.image.sha256, "size_bytes": 32, "used_at": at, "verified_at": at}
    ImageCopy.objects.create(pool=world.host.default_pool, **there)
    set_limits(actor=SYSTEM, tenant=world.acme, limits={"vms": 7, "vcpus": 200, "memory_mib": 1024, "disk_gib": 9})
    prices = [
        NewPrice("vcpu", Decimal(0)),
        NewPrice("vcpu", Decimal("0.013"), above=Decimal(2000)),
        NewPrice("vcpu", Decimal("0.001"), grade="best-effort"),
        NewPrice("vcpu-off", Decimal("0.002")),
        NewPrice("memory", Decimal("0.007")),
        NewPrice("disk", Decimal("0.0003")),
        NewPrice("bin", Decimal("0.0001")),
        NewPrice("address", Decimal("0.0005")),
    ]
    since = timezone.now() - timedelta(days=1)
    create_book(actor=SYSTEM, name="Prices", currency="EUR", since=since, prices=prices)


def _plan_and_apply(world: World, step: tuple[Any, ...], between: tuple[Any, ...] | None) -> None:
    actor = _actor_of(world, step)
    before = _state(world)
    try:
        plan = services.plan(actor=actor, **_asked(world, step))
    except NotFound:  # no machine is left
        return
    assert _state(world) == before, "a plan changes nothing"
    assert plan.told["quota"]["before"] == before["quota"]
    if between is not None:
        _do(world, between)
    now = _state(world)
    try:
        result = services.apply(actor=actor, plan=plan)
    except DomainError as refusal:
        _is_as_told(plan.told, refusal, is_changed=between is not None)
        assert _state(world) == now, "a refusal changes nothing"
        return
    assert plan.told["refusal"] is None
    _end(result)
    _came_to(world, plan.told, now, _state(world), is_changed=between is not None)


def _is_as_told(plan: Mapping[str, Any], refusal: DomainError, *, is_changed: bool) -> None:
    """Refused in the words of the plan; or in others, after a change, and then it says so."""
    if not is_changed or "changed" not in refusal.extra:
        foreseen = plan["refusal"] or {}
        is_gone = is_changed and refusal.status == 404
        assert is_gone or (refusal.code, refusal.detail) == (foreseen.get("code"), foreseen.get("detail"))


def _came_to(
    world: World, plan: Mapping[str, Any], now: Mapping[str, Any], then: Mapping[str, Any], *, is_changed: bool
) -> None:
    before, after = plan["quota"]["before"], plan["quota"]["after"]
    if not is_changed:
        assert then["quota"] == after
        for unit in ("hour", "month"):
            assert then["price"][unit]["after"] == plan["price"][unit]["after"]
    else:  # what it takes, and what it costs more
        took = {name: then["quota"]["used"][name] - now["quota"]["used"][name] for name in after["used"]}
        assert took == {name: after["used"][name] - before["used"][name] for name in after["used"]}
    changed = rates.price(now["held"], then["held"], _tariff(world))
    assert _price(changed)["hour"]["change"] == plan["price"]["hour"]["change"]
    assert _price(changed)["month"]["change"] == plan["price"]["month"]["change"]


def _state(world: World) -> dict[str, Any]:
    held = billing.held(world.acme.pk)
    return {
        "quota": _usage(quotas.usage(SYSTEM, world.acme)),
        "held": held,
        "price": _price(rates.price(held, held, _tariff(world))),
        "machines": set(_machines(world).values_list("pk", "lifecycle", "flavor_id", "binned_at")),
    }


def _tariff(world: World) -> Any:
    now = clocks.database_now()
    return billing.tariffs(world.acme.pk, now, now + timedelta(hours=1))[0]


def _do(world: World, step: tuple[Any, ...]) -> None:
    """Somebody else does it, past all plans."""
    if step[0] == "switch":
        vm = _machine(world, step[1])
        action = Action.START if vm is not None and vm.status == "stopped" else Action.FORCE_OFF
        _try(lambda: Result(vm, change_power(actor=SYSTEM, vm=vm, action=action)))
        return
    actor = _actor_of(world, step)
    _try(lambda: services.apply(actor=actor, plan=services.plan(actor=actor, **_asked(world, step))))


def _try(act: Any) -> None:
    with suppress(DomainError):
        _end(act())


def _end(result: Result) -> None:
    """As a worker would, each time it is rung for."""
    if result.operation is None:
        return
    rows = Operation.objects.unscoped("test").filter(pk=result.operation.pk)
    for _ in range(30):
        engine.run(result.operation.pk)
        if not rows.get().is_active:
            break
        rows.update(not_before=None)
    assert rows.get().status == "succeeded", rows.get().error


def _actor_of(world: World, step: tuple[Any, ...]) -> Actor:
    return actor_for(world.people["admin" if step[0] == "quota.change" else "owner"])


def _asked(world: World, step: tuple[Any, ...]) -> dict[str, Any]:
    action, *rest = step
    if action == "vm.create":
        flavor, name = rest
        body = {"name": name, "image": "tiny", "flavor": flavor, "tenant": "acme"}
        return {"action": action, "body": body}
    if action == "quota.change":
        return {"action": action, "target": "acme", "body": dict([rest])}
    if action == "volume.create":
        return {"action": action, "body": {"name": "data", "size_gib": rest[0], "tenant": "acme"}}
    if action.startswith("volume."):
        found = list(Volume.objects.unscoped("test").filter(tenant=world.acme).order_by("created_at", "pk"))
        target = str(found[rest[0] % len(found)].pk if found else world.acme.pk)
        return {"action": action, "target": target, "body": {"size_gib": rest[1]} if rest[1:] else {}}
    vm = _machine(world, rest[0])
    names = {"vm.resize": ("flavor",), "vm.clone": ("name", "mode"), "vm.delete": ("purge",)}[action]
    body = dict(zip(names, rest[1:], strict=True))
    return {"action": action, "target": str(vm.pk if vm else world.acme.pk), "body": body}


def _machine(world: World, number: int) -> VM | None:
    found = list(_machines(world).order_by("created_at", "pk"))
    return found[number % len(found)] if found else None


def _machines(world: World) -> Any:
    return VM.objects.unscoped("test").filter(tenant=world.acme).select_related("tenant", "host", "image", "flavor")


def test_a_plan_is_what_is_told_of_its_draft(world: World) -> None:
    _make_ready(world)
    asked = _asked(world, ("vm.create", "large", "a"))
    actor = actor_for(world.people["owner"])
    assert services.plan(actor=actor, **asked).told == told(services.draft(actor=actor, **asked))
    assert Plan.objects.unscoped("test").count() == 1
