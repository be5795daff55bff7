"""Storage classes and pools, as administrators keep them, over a host in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hosts.driver import errors
from hosts.models import Host, StorageClass, StoragePool
from tests.volumes.conftest import Bench

pytestmark = pytest.mark.django_db
Refused = Callable[..., dict[str, Any]]
DIR = {"name": "more", "storage_class": "fast", "path": "/srv/more"}
NFS = {
    "name": "nfs",
    "storage_class": "fast",
    "kind": "netfs",
    "path": "/srv/nfs",
    "source": "/export/a",
    "hosts": ["f"],
}


@pytest.fixture(autouse=True)
def as_admin(bench: Bench) -> None:
    bench.api = bench.world.caller("admin")


def test_a_pool_is_had_by_its_host_and_measured(bench: Bench) -> None:
    before = bench.world.host.capacity["disk_gib"]
    bench.succeed(bench.post("/hosts/one/pools", DIR).json())
    pool = StoragePool.objects.get(name="more")
    assert str(bench.host.pools["more"]) == "/srv/more"
    assert pool.is_ready
    assert pool.capacity_bytes > 0
    host = Host.objects.get(pk=bench.world.host.pk)
    assert host.capacity["disk_gib"] == before + pool.capacity_gib
    assert bench.is_clean()
    bench.succeed(bench.delete("/hosts/one/pools/more").json())
    assert "more" not in bench.host.pools
    assert not StoragePool.objects.filter(name="more").exists()
    assert Host.objects.get(pk=host.pk).capacity["disk_gib"] == before
    assert bench.is_clean()


def test_one_that_the_host_cannot_have_is_none(bench: Bench) -> None:
    bench.host.fail_next("ensure_pool", errors.DriverError("mount.nfs: no such server"))
    operation = bench.run(bench.post("/hosts/one/pools", DIR).json()["operation"]["id"])
    assert operation.status == "failed"
    assert operation.error is not None
    assert "no such server" in operation.error["detail"]
    assert not StoragePool.objects.filter(name="more").exists()


def test_a_check_brings_pools_back(bench: Bench) -> None:
    bench.host.pools.pop("fast")
    bench.succeed(bench.post("/hosts/one/actions/check", {}).json())
    assert "fast" in bench.host.pools


def test_disks_keep_their_pool(bench: Bench, refused: Refused) -> None:
    volume = bench.create(storage_class="fast")
    answer = bench.delete("/hosts/one/pools/fast")
    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    assert bench.delete("/hosts/one/pools/berth").json()["code"] == "in_use"
    bench.succeed(bench.delete(f"/volumes/{volume.pk}").json())
    accepted = bench.delete("/hosts/one/pools/fast").json()
    body = {"name": "late", "size_gib": 1, "tenant": "acme", "storage_class": "fast"}
    assert refused("/volumes", body)["code"] == "no_capacity"
    bench.succeed(accepted)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**DIR, "path": ""}, "path"),
        ({**DIR, "path": "relative/path"}, "path"),
        ({**DIR, "path": "/"}, "path"),
        ({**DIR, "path": "/etc/libvirt"}, "path"),
        ({**DIR, "path": "/srv/../etc"}, "path"),
        ({**DIR, "path": "/srv/a b"}, "path"),
        ({**DIR, "path": "/srv/<x>"}, "path"),
        ({**DIR, "path": "/var/lib/libvirt/images/berth/inside"}, "path"),
        ({**DIR, "path": "/srv/fast"}, "path"),
        ({**DIR, "name": "Not A Name"}, "name"),
        ({**DIR, "storage_class": "none"}, "storage_class"),
        ({**DIR, "kind": "iscsi"}, "kind"),
        ({**NFS, "hosts": []}, "hosts"),
        ({**NFS, "hosts": ["a", "b"]}, "hosts"),
        ({**NFS, "hosts": ["-oProxyCommand=x"]}, "hosts"),
        ({**NFS, "source": "export"}, "source"),
        ({"name": "lvm", "storage_class": "fast", "kind": "logical", "source": "../vg"}, "source"),
        ({"name": "lvm", "storage_class": "fast", "kind": "logical"}, "source"),
        ({"name": "ceph", "storage_class": "fast", "kind": "rbd", "source": "vms"}, "hosts"),
        (
            {"name": "ceph", "storage_class": "fast", "kind": "rbd", "source": "vms", "hosts": ["m"], "user": "u"},
            "secret",
        ),
    ],
)
def test_a_pool_that_cannot_be(bench: Bench, body: dict[str, Any], field: str) -> None:
    answer = bench.post("/hosts/one/pools", body)
    assert answer.status_code in (400, 409), answer.content
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert StoragePool.objects.count() == 2


def test_pools_of_each_kind_are_described_as_libvirt_wants_them(bench: Bench) -> None:
    """A host in memory has directories only; tests/unit/xml holds the others to libvirt's schema."""
    bodies = (
        NFS,
        {"name": "lvm", "storage_class": "fast", "kind": "logical", "source": "vg0"},
        {"name": "ceph", "storage_class": "fast", "kind": "rbd", "source": "vms", "hosts": ["m1", "10.0.0.2:6789"]},
    )
    for body in bodies:
        accepted = bench.post("/hosts/one/pools", body)
        assert accepted.status_code == 202, accepted.content
        spec = StoragePool.objects.get(name=body["name"]).spec
        assert (spec.kind, spec.source) == (body["kind"], body["source"])
        assert not StoragePool.objects.get(name="nfs" if body is NFS else body["name"]).is_ready
        assert accepted.json()["pool"]["takes_disks"] == (body is NFS)
        operation = bench.run(accepted.json()["operation"]["id"])
        assert operation.error is not None
        assert operation.error["code"] == "unsupported_by_host"


# -- classes -----------------------------------------------------------------------------------------------------


def test_a_class_and_what_can_change_of_it(bench: Bench) -> None:
    body = {"slug": "slow", "name": "Slow", "read_iops": 100, "write_mib_s": 5}
    made = bench.post("/storage-classes", body).json()
    assert (made["read_iops"], made["write_iops"], made["write_mib_s"], made["default"]) == (100, None, 5, False)
    patch = lambda **changes: bench.api.patch("/api/v1/storage-classes/slow", changes)  # noqa: E731
    assert patch(read_iops=None, name="Slower").json()["read_iops"] is None
    assert patch(default=True).json()["default"]
    assert StorageClass.objects.get(is_default=True).slug == "slow"
    assert patch(active=False).json()["code"] == "in_use"
    bench.api.patch("/api/v1/storage-classes/standard", {"default": True})
    assert patch(active=False).json()["active"] is False
    assert patch(default=True).json()["code"] == "wrong_state"


def test_limits_stay_while_disks_are_held_to_them(bench: Bench) -> None:
    answer = bench.api.patch("/api/v1/storage-classes/fast", {"read_iops": 100})
    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    assert bench.api.patch("/api/v1/storage-classes/fast", {"read_iops": 500}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{"read_iops": 9}, {"write_iops": 0}, {"read_mib_s": 0}, {"write_mib_s": 10**7}, {"slug": "fast"}, {"name": ""}],
)
def test_a_class_that_cannot_be(bench: Bench, body: dict[str, Any]) -> None:
    answer = bench.post("/storage-classes", {"slug": "new", "name": "New", **body})
    assert answer.status_code in (400, 409)
    assert [error["field"] for error in answer.json()["errors"]] == list(body)


def test_tenants_see_what_is_offered(bench: Bench) -> None:
    StorageClass.objects.filter(slug="fast").update(is_active=False)
    bench.api = bench.world.caller("viewer")
    assert [found["slug"] for found in bench.get("/storage-classes").json()["results"]] == ["standard"]
    assert bench.get("/storage-classes/fast").status_code == 404


def test_a_machine_is_made_on_the_storage_that_is_asked_for(bench: Bench) -> None:
    body = {"name": "new", "image": "tiny", "flavor": "small", "tenant": "acme", "storage_class": "fast"}
    answer = bench.post("/vms", body)
    assert answer.status_code == 202, answer.content
    (boot,) = bench.get(f"/volumes?vm={answer.json()['vm']['id']}").json()["results"]
    assert (boot["storage_class"], boot["pool"]) == ("fast", "one/fast")
    StoragePool.objects.filter(name="fast").update(error="not mounted")
    problem = bench.post("/vms", {**body, "name": "newer"}).json()
    assert problem["code"] == "no_capacity"
    answer = bench.post("/vms", {**body, "name": "newest", "storage_class": "none"})
    assert answer.json()["errors"][0]["field"] == "storage_class"
