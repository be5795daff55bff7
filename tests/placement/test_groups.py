"""Groups that tenants make, and what is kept of each decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hosts.models import Host, Placement
from hosts.services import clusters
from portal.tenancy.gate import SYSTEM
from tests.world import Caller, World, make_host
from vms.models import VM, AffinityGroup, Flavor
from vms.workflows.create import forget_machine

pytestmark = pytest.mark.django_db
Call = Callable[..., Caller]


@pytest.fixture
def owner(world: World, call: Call) -> Caller:
    make_host("two")
    return call("owner")


def create(owner: Caller, name: str, **more: Any) -> Any:
    return owner.post("vms", {"name": name, "image": "tiny", "flavor": "small", "tenant": "acme", **more})


def host_of(answer: Any) -> Host:
    assert answer.status_code == 202, answer.json()
    return VM.objects.unscoped("test").get(pk=answer.json()["vm"]["id"]).host


def test_apart_each_has_a_host_of_its_own_and_the_third_is_told_why(world: World, owner: Caller) -> None:
    assert owner.post("affinity-groups", {"name": "quorum", "policy": "apart"}).status_code == 201
    first, second = (host_of(create(owner, name, groups=["quorum"])) for name in ("q-1", "q-2"))
    assert first != second
    refused = create(owner, "q-3", groups=["quorum"])
    assert (refused.status_code, refused.json()["code"]) == (409, "no_capacity")
    assert "kept apart from (quorum)" in refused.json()["detail"]
    assert refused.json()["constraint"] == "apart"


def test_together_all_are_on_one(world: World, owner: Caller) -> None:
    world.group("pair", "together")
    hosts = {host_of(create(owner, f"p-{number}", groups=["pair"])) for number in range(4)}
    assert len(hosts) == 1
    Host.objects.filter(pk__in=[host.pk for host in hosts]).update(state="cordoned")
    refused = create(owner, "p-9", groups=["pair"]).json()
    assert "group pair is kept on one host" in refused["detail"]


def test_one_that_runs_joins_only_where_it_is_as_the_group_says(world: World, owner: Caller) -> None:
    apart = world.group("quorum", "apart", "web")
    body = {"vm": str(world.machines["cold"].pk)}
    refused = owner.post(f"affinity-groups/{apart.pk}/actions/add", body)
    assert (refused.status_code, refused.json()["code"]) == (409, "group_conflict")
    assert "same host as web" in refused.json()["detail"]
    pair = world.group("pair", "together", "web")
    joined = owner.post(f"affinity-groups/{pair.pk}/actions/add", body)
    assert sorted(vm["name"] for vm in joined.json()["vms"]) == ["cold", "web"]
    left = owner.post(f"affinity-groups/{pair.pk}/actions/remove", body)
    assert [vm["name"] for vm in left.json()["vms"]] == ["web"]


@pytest.mark.parametrize(
    ("body", "field"),
    [({"name": "Two Words", "policy": "apart"}, "name"), ({"name": "x", "policy": "near"}, "policy")],
)
def test_what_is_no_group(world: World, owner: Caller, body: dict[str, str], field: str) -> None:
    answer = owner.post("affinity-groups", body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


def test_groups_of_others_are_unknown(world: World, owner: Caller, call: Call) -> None:
    world.group("quorum")
    refused = call("foreign").post(
        "vms", {"name": "x", "image": "tiny", "flavor": "small", "tenant": "beta", "groups": ["quorum"]}
    )
    assert refused.json()["errors"][0]["field"] == "groups"
    foreign = str(world.machines["foreign"].pk)
    group = world.group("quorum")
    assert owner.post(f"affinity-groups/{group.pk}/actions/add", {"vm": foreign}).status_code == 404


def test_a_size_may_ask_for_a_label(world: World, owner: Caller) -> None:
    Flavor.objects.filter(pk=world.flavor.pk).update(host_labels=["gpu"])
    assert "asks for (gpu)" in create(owner, "g-1").json()["detail"]
    Host.objects.filter(name="two").update(labels=["gpu", "ssd"])
    assert host_of(create(owner, "g-1")).name == "two"


def test_a_tenant_may_be_held_to_a_cluster(world: World, owner: Caller) -> None:
    clusters.allow_clusters(actor=SYSTEM, tenant=world.acme, clusters=[world.cluster("east")])
    refused = create(owner, "c-1").json()
    assert (refused["constraint"], "clusters that this tenant" in refused["detail"]) == ("cluster", True)
    make_host("far", cluster=world.cluster("east"))
    assert host_of(create(owner, "c-1")).name == "far"


def test_each_decision_is_kept_for_the_staff(world: World, owner: Caller, call: Call) -> None:
    Host.objects.filter(name="two").update(state="cordoned")
    make_host("three", memory_mib=1024)
    make_host("four")
    machine = VM.objects.unscoped("test").get(pk=create(owner, "k-1").json()["vm"]["id"])
    (told,) = call("auditor").get(f"vms/{machine.pk}/placements").json()["results"]
    assert told["host"] == "four"
    assert told["refused"]["state"] == {"two": "cordoned"}
    assert told["refused"]["capacity"] == {"three": "128 MiB of memory short"}
    assert list(told["refused"]["rank"]) == ["one"]
    assert told["considered"] == 4
    assert owner.get(f"vms/{machine.pk}/placements").status_code == 403
    forget_machine(machine.pk)
    assert not Placement.objects.exists()
    assert not AffinityGroup.objects.unscoped("test").exists()
