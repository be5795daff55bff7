"""Volumes of no machine are placed as machines are: in the tenant's clusters, on hosts that are ready, with a note."""

from __future__ import annotations

from typing import Any

import pytest

from hosts.models import Host, Placement, StorageClass, StoragePool, TenantCluster
from portal.core.units import GIB
from portal.operations.models import Operation
from tests.world import World, make_host
from vms.models import Volume
from vms.workflows.volumes.create import forget

pytestmark = pytest.mark.django_db


def create(world: World, name: str = "data", **body: Any) -> Any:
    return world.caller("owner").post("volumes", {"name": name, "size_gib": 2, "tenant": "acme", **body})


def lies_on(answer: Any) -> Host:
    assert answer.status_code == 202, answer.content
    volume = Volume.objects.unscoped("test").get(pk=answer.json()["volume"]["id"])
    return volume.layer.pool.host


def test_only_in_the_clusters_of_its_tenant(world: World) -> None:
    east = world.cluster("east")
    allowed = make_host("zzz", cluster=east)
    TenantCluster.objects.create(tenant=world.acme, cluster=east)
    assert lies_on(create(world)) == allowed
    Host.objects.filter(pk=allowed.pk).update(state="cordoned")
    answer = create(world, "more")
    assert (answer.status_code, answer.json()["code"], answer.json()["constraint"]) == (409, "no_capacity", "cluster")


@pytest.mark.parametrize("change", [{"accelerator": ""}, {"is_unknown": True}, {"state": "draining"}])
def test_never_on_a_host_that_takes_no_machines(world: World, change: dict[str, Any]) -> None:
    make_host("aaa", **change)
    assert lies_on(create(world)) == world.host
    Host.objects.filter(pk=world.host.pk).update(**change)
    assert create(world, "more").json()["code"] == "no_capacity"


def test_where_its_class_is_and_has_room(world: World) -> None:
    fast = StorageClass.objects.create(slug="fast", name="Fast")
    full, other = make_host("aaa"), make_host("bbb")
    for host, size in ((full, 1), (other, 100)):
        path, checked_at = "/srv/fast", host.checked_at
        more = {"path": path, "checked_at": checked_at, "capacity_bytes": size * GIB}
        StoragePool.objects.create(host=host, name="fast", storage_class=fast, **more)
    assert lies_on(create(world, storage_class="fast")) == other
    StoragePool.objects.filter(host=other, name="fast").update(capacity_bytes=GIB)
    assert "No storage of this class has 2 GiB free" in create(world, "more", storage_class="fast").json()["detail"]


def test_the_decision_is_kept_as_long_as_it(world: World) -> None:
    make_host("aaa", state="cordoned")
    answer = create(world)
    (told,) = Placement.objects.filter(holder_id=answer.json()["volume"]["id"])
    assert (told.title, told.host_name, told.wanted) == ("acme/data", "one", {"disk_gib": 2})
    assert told.reasons == {"state": {"aaa": "cordoned"}}
    volume = Volume.objects.unscoped("test").get(pk=answer.json()["volume"]["id"])
    forget(Operation.objects.unscoped("test").get(target_id=volume.pk))
    assert not Placement.objects.filter(holder_id=volume.pk).exists()


def test_administrators_see_what_none_took(world: World) -> None:
    Host.objects.update(state="cordoned")
    assert create(world).status_code == 409
    found = world.caller("admin").get("refused-placements").json()["results"]
    assert [each["title"] for each in found] == ["acme/data"]
