"""Hosts under the hands of several people at once: what one has read is not written over what another has changed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from hosts.models import Host, StorageClass
from hosts.services import hosts as services
from hosts.services.clusters import change_cluster, remove_cluster
from hosts.services.pools import RegisterPool, register_pool
from portal.core.errors import Conflict, Invalid, NotFound
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from tests.world import Caller, World, make_host
from vms.maintenance.drain import drain_host
from vms.services import failover

pytestmark = pytest.mark.django_db


@pytest.fixture
def empty(world: World) -> Host:
    return make_host("empty", cpus=8)


def stale(host: Host) -> Host:
    return Host.objects.get(pk=host.pk)


class TestPolicy:
    def test_what_is_not_asked_for_stays_as_somebody_else_has_set_it(self, empty: Host) -> None:
        read_before = stale(empty)
        services.set_policy(actor=SYSTEM, host=stale(empty), memory_reserved_mib=2048, dedicated_cpus=4)
        changed = services.set_policy(actor=SYSTEM, host=read_before, cpu_ratio=Decimal(4))
        found = stale(empty)
        for host in (changed, found):
            assert (host.cpu_ratio, host.memory_reserved_mib, host.dedicated_cpus) == (4, 2048, 4)

    def test_cpus_are_judged_as_they_are_now(self, empty: Host) -> None:
        read_before = stale(empty)
        services.set_policy(actor=SYSTEM, host=stale(empty), dedicated_cpus=4)
        ledger.hold(empty.pk, uuid4(), {"vcpus": 2, "cpu:4": 1, "cpu:5": 1}, {})
        with pytest.raises(Conflict) as refusal:
            services.set_policy(actor=SYSTEM, host=read_before, dedicated_cpus=0)
        assert (refusal.value.code, stale(empty).dedicated_cpus) == ("host_not_empty", 4)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("cpu_ratio", Decimal(65)),
            ("cpu_ratio", Decimal("NaN")),
            ("memory_ratio", Decimal("4.1")),
            ("memory_reserved_mib", -1),
            ("dedicated_cpus", 8),
        ],
    )
    def test_each_is_refused_at_its_field(self, empty: Host, field: str, value: Any) -> None:
        with pytest.raises(Invalid) as refusal:
            services.set_policy(actor=SYSTEM, host=empty, **{field: value})
        assert refusal.value.field == field

    def test_labels_and_addresses_too(self, empty: Host) -> None:
        read_before = stale(empty)
        services.set_labels(actor=SYSTEM, host=stale(empty), labels=["ssd"])
        services.set_peer_uri(actor=SYSTEM, host=stale(empty), uri="qemu+tls://peer/system")
        services.set_labels(actor=SYSTEM, host=read_before, labels=[])
        assert (stale(empty).labels, stale(empty).peer_uri) == ([], "qemu+tls://peer/system")


class TestCluster:
    def test_what_is_not_asked_for_stays(self, world: World) -> None:
        read_before = world.cluster("east")
        change_cluster(actor=SYSTEM, cluster=world.cluster("east"), failover="eager")
        change_cluster(actor=SYSTEM, cluster=read_before, name="New name")
        found = world.cluster("east")
        assert (found.failover, found.name) == ("eager", "New name")

    def test_one_that_is_gone_is_not_found(self, world: World) -> None:
        read_before = world.cluster("east")
        remove_cluster(actor=SYSTEM, cluster=world.cluster("east"))
        with pytest.raises(NotFound):
            change_cluster(actor=SYSTEM, cluster=read_before, name="New name")


class TestRemoval:
    @pytest.mark.parametrize(
        "begin",
        [
            lambda host: services.preflight(actor=SYSTEM, host=host),
            lambda host: drain_host(actor=SYSTEM, host=host),
            lambda host: failover.confirm_off(actor=SYSTEM, host=host, typed=host.name),
            lambda host: register_pool(actor=SYSTEM, host=host, request=_a_pool())[1],
        ],
        ids=["checked", "drained", "fenced off", "given a pool"],
    )
    def test_not_while_it_is(self, world: World, empty: Host, begin: Callable[[Host], Operation]) -> None:
        Host.objects.filter(pk=empty.pk).update(seen_at=None)
        operation = begin(stale(empty))
        with pytest.raises(Conflict) as refusal:
            services.remove_host(actor=SYSTEM, host=empty)
        assert refusal.value.code == "operation_in_progress"
        assert refusal.value.extra["operation"] == str(operation.pk)
        Operation.objects.unscoped("test").filter(pk=operation.pk).update(state="cancelled")
        services.remove_host(actor=SYSTEM, host=stale(empty))
        assert not Host.objects.filter(pk=empty.pk).exists()

    def test_not_while_it_is_cleared(self, empty: Host) -> None:
        Host.objects.filter(pk=empty.pk).update(state="failed")
        operation = failover.clear(actor=SYSTEM, host=stale(empty))
        with pytest.raises(Conflict) as refusal:
            services.remove_host(actor=SYSTEM, host=empty)
        assert refusal.value.extra["operation"] == str(operation.pk)

    def test_over_http_it_names_what_is_under_way(self, empty: Host, call: Callable[..., Caller]) -> None:
        operation = services.preflight(actor=SYSTEM, host=empty)
        answer = call("admin").delete("hosts/empty")
        assert (answer.status_code, answer.json()["code"]) == (409, "operation_in_progress")
        assert answer.json()["operation"] == str(operation.pk)

    @pytest.mark.parametrize(
        "begin",
        [
            lambda host: services.preflight(actor=SYSTEM, host=host),
            lambda host: drain_host(actor=SYSTEM, host=host),
            lambda host: failover.confirm_off(actor=SYSTEM, host=host, typed=host.name),
            lambda host: failover.clear(actor=SYSTEM, host=host),
            lambda host: register_pool(actor=SYSTEM, host=host, request=_a_pool()),
            lambda host: services.set_labels(actor=SYSTEM, host=host, labels=["ssd"]),
            lambda host: services.remove_host(actor=SYSTEM, host=host),
        ],
        ids=["check", "drain", "fence", "clear", "pool", "label", "remove"],
    )
    def test_nothing_is_begun_on_one_that_is_gone(
        self, world: World, empty: Host, begin: Callable[[Host], object]
    ) -> None:
        before = Operation.objects.unscoped("test").count()
        services.remove_host(actor=SYSTEM, host=stale(empty))
        with pytest.raises(NotFound):
            begin(empty)
        assert Operation.objects.unscoped("test").count() == before


def _a_pool() -> RegisterPool:
    return RegisterPool(name="fast", storage_class=StorageClass.objects.get().slug, path="/srv/fast")
