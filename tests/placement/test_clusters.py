"""Clusters: one network for all hosts, an address once, and what stands in the way of a change."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from hosts.connections import driver_for
from hosts.models import Cluster, Host, HostState
from hosts.services import clusters as services
from hosts.services import hosts
from hosts.workflows.preflight import prepare_network
from portal.core.errors import Conflict, Invalid
from portal.operations.models import Operation
from portal.operations.workflow import StepFailed
from portal.quotas import ledger
from portal.tenancy.gate import SYSTEM
from tests.world import World, make_host
from vms.addresses import give_address
from vms.models import Nic

pytestmark = pytest.mark.django_db


def host_of(cluster: Cluster, name: str, **more: Any) -> Host:
    return make_host(name, uri=f"memory://{uuid4()}", cluster=cluster, **more)


def ask_for_network(host: Host) -> str:
    context = SimpleNamespace(operation=SimpleNamespace(target_id=host.pk), check=lambda: None)
    return str(prepare_network(context)["cidr"])  # type: ignore[index, arg-type]


class TestNetwork:
    def test_the_first_host_chooses_and_the_others_follow(self, world: World) -> None:
        cluster = services.add_cluster(actor=SYSTEM, slug="east")
        one, two = (host_of(cluster, name, network_cidr="") for name in ("e-one", "e-two"))
        driver_for(two).ensure_network("theirs", ["10.75.0.0/24"])
        first = ask_for_network(one)
        assert Cluster.objects.get(pk=cluster.pk).network_cidr == first
        driver_for(two).delete_network("theirs")
        assert ask_for_network(two) == first

    def test_an_empty_host_gives_its_own_up(self, world: World) -> None:
        cluster = services.add_cluster(actor=SYSTEM, slug="east", network_cidr="10.90.0.0/20")
        host = host_of(cluster, "e-one")
        driver_for(host).ensure_network("berth", ["10.76.0.0/24"])
        assert ask_for_network(host) == "10.90.0.0/20"

    def test_one_with_machines_keeps_its_own_and_is_refused(self, world: World) -> None:
        cluster = services.add_cluster(actor=SYSTEM, slug="east", network_cidr="10.90.0.0/20")
        host = host_of(cluster, "e-one")
        driver_for(host).ensure_network("berth", ["10.76.0.0/24"])
        ledger.hold(host.pk, world.machines["web"].pk, {"vcpus": 1}, {})
        with pytest.raises(StepFailed, match=r"10.76.0.0/24, and that of its cluster east is 10.90.0.0/20"):
            ask_for_network(host)
        assert driver_for(host).ensure_network("berth", []) == "10.76.0.0/24"


def test_an_address_is_given_once_per_cluster(world: World) -> None:
    other = host_of(world.host.cluster, "two")
    far = host_of(world.cluster("east"), "far")
    vm = world.machines["web"]
    given = set(Nic.objects.values_list("ip", flat=True))
    vm.host = other
    beside = give_address(vm)
    assert beside.ip not in given
    vm.host = far
    elsewhere = give_address(vm)
    assert elsewhere.ip in given
    assert elsewhere.mac not in Nic.objects.filter(cluster=world.host.cluster).values_list("mac", flat=True)


class TestChanges:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("spread", "sideways"),
            ("failure_reserve", 17),
            ("cpu_model", "<qemu64/>"),
            ("network_cidr", "8.8.8.0/24"),
            ("network_cidr", "127.0.0.0/16"),
            ("network_cidr", "169.254.0.0/16"),
            ("network_cidr", "10.0.0.0/8"),
            ("network_cidr", "10.0.0.1/24"),
            ("network_cidr", "fd00::/64"),
        ],
    )
    def test_refusals_stand_at_their_fields(self, world: World, field: str, value: object) -> None:
        with pytest.raises(Invalid) as refused:
            services.add_cluster(actor=SYSTEM, slug="east", **{field: value})
        assert refused.value.field == field
        assert not Cluster.objects.filter(slug="east").exists()

    def test_the_processor_stays_while_machines_have_it(self, world: World) -> None:
        cluster = world.host.cluster
        with pytest.raises(Conflict, match="processor"):
            services.change_cluster(actor=SYSTEM, cluster=cluster, cpu_model="Westmere")
        assert services.change_cluster(actor=SYSTEM, cluster=world.cluster(), cpu_model="Westmere").cpu_model

    def test_one_with_hosts_is_not_removed(self, world: World) -> None:
        with pytest.raises(Conflict, match="hosts"):
            services.remove_cluster(actor=SYSTEM, cluster=world.host.cluster)

    def test_only_an_empty_host_goes_to_another(self, world: World) -> None:
        world.cluster("east")
        with pytest.raises(Conflict, match="empty"):
            hosts.set_cluster(actor=SYSTEM, host=world.host, cluster="east")
        two = host_of(world.host.cluster, "two")
        hosts.set_cluster(actor=SYSTEM, host=two, cluster="east")
        assert Host.objects.get(pk=two.pk).cluster.slug == "east"
        assert Operation.objects.unscoped("test").filter(kind="host.preflight", target_id=two.pk).exists()

    def test_labels_are_words(self, world: World) -> None:
        assert hosts.set_labels(actor=SYSTEM, host=world.host, labels=["ssd", "gpu", "ssd"]).labels == ["gpu", "ssd"]
        with pytest.raises(Invalid):
            hosts.set_labels(actor=SYSTEM, host=world.host, labels=["two words"])

    def test_a_host_that_was_fenced_off_is_not_enabled_by_the_way(self, world: World) -> None:
        Host.objects.filter(pk=world.host.pk).update(state=HostState.FAILED)
        world.host.refresh_from_db()
        with pytest.raises(Conflict, match="fenced"):
            hosts.set_state(actor=SYSTEM, host=world.host, state=HostState.ENABLED)
