"""One host of a cluster after the other."""

from __future__ import annotations

import pytest

from hosts.models import Host, HostState
from hosts.services.hosts import set_state
from portal.accounts.models import User
from portal.core.errors import Conflict, Forbidden, NotFound
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM, actor_for
from portal.web.presenters.operation import view
from tests.audit.mirror import beside
from tests.maintenance.conftest import Work
from tests.world import World
from vms.maintenance import roll
from vms.maintenance.roll import roll_cluster
from vms.models import VM

pytestmark = pytest.mark.django_db


def drains() -> list[str]:
    rows = Operation.objects.unscoped("test").filter(kind="host.drain").order_by("created_at")
    return [operation.target_name for operation in rows]


def put_back(name: str) -> None:
    set_state(actor=SYSTEM, host=Host.objects.get(name=name), state=HostState.ENABLED)


def test_each_is_drained_once_the_one_before_is_back(world: World, near: Host, work: Work) -> None:
    operation = roll_cluster(actor=SYSTEM, cluster=world.host.cluster, concurrency=5)
    operation = work(operation, turns=8)
    assert drains() == ["one"]
    assert operation.waiting_for == "one is empty and may be worked on; uncordon it to go on"
    told = view(SYSTEM, operation, list(operation.steps.all()), "")
    assert told.waiting_for.endswith("it gives up in 89 days")
    assert [(part.name, part.word) for part in told.parts] == [("one", "drain done"), ("two", "not begun")]
    assert Host.objects.get(name="one").state == "maintenance"
    put_back("one")
    operation = work(operation, turns=8)
    assert drains() == ["one", "two"]
    assert Host.objects.get(name="two").state == "maintenance"
    assert VM.objects.unscoped("test").filter(host=world.host).count() == 5
    put_back("two")
    assert work(operation).state == "succeeded"
    assert drains() == ["one", "two"]


def test_a_host_that_cannot_be_emptied_ends_it(world: World, near: Host, work: Work) -> None:
    Host.objects.filter(pk=near.pk).update(memory_mib=1024 + 128)
    operation = work(roll_cluster(actor=SYSTEM, cluster=world.host.cluster))
    assert operation.state == "failed"
    assert operation.error is not None
    assert operation.error["detail"].startswith("one could not be drained, so no more were begun. 4 machines stay")
    assert drains() == ["one"]


def test_whose_role_was_taken_away_drains_no_more_hosts(world: World, near: Host, work: Work) -> None:
    admin = world.people["admin"]
    operation = work(roll_cluster(actor=actor_for(admin), cluster=world.host.cluster), turns=8)
    User.objects.filter(pk=admin.pk).update(provider_role="")
    put_back("one")
    operation = work(operation)
    assert operation.error is not None
    assert operation.error["code"] == "forbidden"
    assert drains() == ["one"]


def test_a_cancel_begins_no_more(world: World, near: Host, work: Work) -> None:
    operation = work(roll_cluster(actor=SYSTEM, cluster=world.host.cluster), turns=8)
    operations.cancel(actor=SYSTEM, operation=operation)
    put_back("one")
    assert work(operation).state == "cancelled"
    assert drains() == ["one"]


def test_one_host_alone_has_nobody_to_take_its_machines(world: World, host: object) -> None:
    with pytest.raises(Conflict, match="two hosts"):
        roll_cluster(actor=SYSTEM, cluster=world.host.cluster)


def test_a_tenant_may_not(world: World, near: Host) -> None:
    with pytest.raises(Forbidden):
        roll_cluster(actor=actor_for(world.people["owner"]), cluster=world.host.cluster)


def test_one_that_failed_once_it_was_empty_is_not_told_as_safe(world: World, near: Host, work: Work) -> None:
    operation = work(roll_cluster(actor=SYSTEM, cluster=world.host.cluster, concurrency=5), turns=8)
    Host.objects.filter(name="one").update(state="failed")
    operation = work(operation, turns=2)
    assert operation.waiting_for == "one has failed; once it is back, uncordon it to go on"


def test_one_that_is_removed_right_then_is_passed_over(
    world: World, near: Host, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there when the look begins, and gone when its drain is to."""

    def remove_first(*, host: Host, **asked: object) -> Operation:
        monkeypatch.undo()
        Host.objects.filter(pk=host.pk).update(name="removed")
        raise NotFound("There is no such host.")

    gone = beside(world, "a-third")
    operation = roll_cluster(actor=SYSTEM, cluster=world.host.cluster, concurrency=5)
    monkeypatch.setattr(roll, "drain_host", remove_first)
    operation = work(operation, turns=1)
    assert Host.objects.get(pk=gone.pk).name == "removed"
    Host.objects.filter(pk=gone.pk).delete()
    operation = work(operation, turns=8)
    assert operation.is_active
    assert drains() == ["one"]
    assert operation.steps.get().detail == "0 of 2 hosts are done (1 removed meanwhile); one is next"
