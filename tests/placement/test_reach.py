"""Storage that hosts share: recognised by its token, and seen rightly by whoever looks at one of them."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from hosts import reach
from hosts.connections import driver_for
from hosts.driver import memory
from hosts.driver.memory import MemoryHost
from hosts.driver.types import DiskSpec, PowerState
from hosts.models import Host, StoragePool
from hosts.placement import NoCapacity
from hosts.services.hosts import preflight
from hosts.workflows.tokens import token_in
from portal.core.errors import Conflict
from portal.core.units import GIB
from portal.operations import engine
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.operations.workflow import TransientError
from portal.tenancy.gate import SYSTEM
from tests.audit.mirror import beside, mirrored
from tests.audit.test_audit import guest, volume
from tests.world import World
from vms import copies
from vms.audit.run import audit
from vms.models import Drift, ImageCopy, Layer, Volume
from vms.services import copies as services
from vms.services.pools import require_room
from vms.workflows.clean_up import CLEAN_UP

pytestmark = pytest.mark.django_db


@pytest.fixture
def host(world: World) -> MemoryHost:
    Operation.objects.unscoped("test").all().delete()
    return mirrored(world)


@pytest.fixture
def neighbour(world: World, host: MemoryHost) -> Host:
    """A host beside the world's that sees the same directory."""
    return beside(world)


def test_hosts_that_see_the_same_directory_read_one_token(world: World, neighbour: Host) -> None:
    ids = {pool.storage_id for pool in StoragePool.objects.all()}
    assert len(ids) == 1
    assert ids != {""}


def test_those_that_see_another_read_another(world: World, host: MemoryHost) -> None:
    other = beside(world, is_shared=False)
    assert world.host.default_pool.storage_id != other.default_pool.storage_id
    pool = world.host.default_pool
    assert reach.hosts_of_each([pool]) == {pool.pk: {world.host.pk}}


def test_a_file_that_is_no_token_tells_nothing(world: World, host: MemoryHost) -> None:
    driver_for(world.host).upload("berth", reach.TOKEN, b"../../etc/passwd" * 100, "raw")
    assert token_in(driver_for(world.host), world.host.default_pool) == ""


def test_a_check_of_a_host_reads_it(world: World, host: MemoryHost) -> None:
    engine.run(preflight(actor=SYSTEM, host=world.host).pk)
    found = world.host.default_pool.storage_id
    assert len(found) == 32
    engine.run(preflight(actor=SYSTEM, host=world.host).pk)
    assert world.host.default_pool.storage_id == found


def test_what_a_host_reaches(world: World, neighbour: Host) -> None:
    own, theirs = world.host.default_pool, neighbour.default_pool
    local = StoragePool.objects.create(host=world.host, name="fast", path="/srv/fast", storage_class=own.storage_class)
    assert reach.counterparts([own, local], neighbour) == {own.pk: theirs}
    both = {world.host.pk, neighbour.pk}
    assert reach.hosts_of_each([own, local]) == {own.pk: both, local.pk: {world.host.pk}}


@pytest.mark.parametrize("change", [{"name": "other"}, {"path": "/elsewhere"}, {"error": "not mounted"}])
def test_under_another_name_or_path_it_is_of_no_use(world: World, neighbour: Host, change: dict[str, str]) -> None:
    StoragePool.objects.filter(host=neighbour).update(**change)
    assert reach.counterparts([world.host.default_pool], neighbour) == {}
    pool = world.host.default_pool
    assert reach.hosts_of_each([pool]) == {pool.pk: {world.host.pk}}


def test_the_audit_finds_nothing_wrong_in_it(world: World, neighbour: Host) -> None:
    assert audit() == []


def test_what_nobody_has_there_is_told_once(world: World, neighbour: Host, host: MemoryHost) -> None:
    name = f"{uuid4()}.qcow2"
    host.volumes["berth", name] = volume(name)
    assert [(each.host, each.object) for each in audit() if each.object == name] == [("one", name)]


def test_it_is_told_of_a_host_that_answers(world: World, neighbour: Host, host: MemoryHost) -> None:
    name = f"{uuid4()}.qcow2"
    host.volumes["berth", name] = volume(name)
    Host.objects.filter(pk=world.host.pk).update(seen_at=timezone.now() - timedelta(hours=1))
    assert [each.host for each in audit() if each.object == name] == ["two"]


def test_what_a_guest_of_another_host_uses_is_not_cleaned_up(world: World, neighbour: Host, host: MemoryHost) -> None:
    name, now = f"{uuid4()}.qcow2", timezone.now()
    host.volumes["berth", name] = volume(name)
    stray = guest("stray", disks=(DiskSpec("berth", name, "vda"),))
    memory.host(neighbour.uri).domains[stray.uuid] = (stray, PowerState.RUNNING)
    times = {"first_seen": now, "last_seen": now}
    drift = Drift.objects.create(host=world.host, kind="volume_without_owner", object=name, detail="", **times)
    title = f"Clean up {name}"
    operation = operations.submit(CLEAN_UP, actor=SYSTEM, target=drift, title=title, lane=world.host.pk)
    engine.run(operation.pk)
    operation = Operation.objects.unscoped("test").get(pk=operation.pk)
    assert operation.error["code"] == "has_an_owner"  # type: ignore[index]
    assert ("berth", name) in host.volumes


def test_a_copy_of_an_image_is_used_by_a_disk_of_any_host(world: World, neighbour: Host) -> None:
    pool = world.host.default_pool
    theirs = copies.claim(world.image, neighbour.default_pool)
    assert Layer.objects.filter(pool=pool, image=world.image).exists()
    with pytest.raises(Conflict):
        services.evict_copy(actor=SYSTEM, copy=theirs)


def test_it_goes_for_all_of_them_at_once(world: World, neighbour: Host, host: MemoryHost) -> None:
    image = world.own_image(sha256="1" * 64)
    host.volumes["berth", image.file_name] = volume(image.file_name)
    for each in (world.host, neighbour):
        copies.claim(image, each.default_pool)
    operation = services.evict_copy(actor=SYSTEM, copy=ImageCopy.objects.get(pool__host=neighbour, sha256="1" * 64))
    with pytest.raises(TransientError):
        copies.claim(image, world.host.default_pool)
    engine.run(operation.pk)
    assert not ImageCopy.objects.filter(sha256="1" * 64).exists()
    assert ("berth", image.file_name) not in host.volumes


def test_it_stays_while_one_of_them_used_it_lately(world: World, neighbour: Host) -> None:
    image = world.own_image(sha256="1" * 64)
    for each in (world.host, neighbour):
        copies.claim(image, each.default_pool)
    long_ago = timezone.now() - timedelta(days=400)
    ImageCopy.objects.filter(pool__host=neighbour).update(used_at=long_ago)
    services.evict_unused()
    assert not ImageCopy.objects.exclude(evicting_at=None).exists()
    ImageCopy.objects.update(used_at=long_ago)
    services.evict_unused()
    assert ImageCopy.objects.exclude(evicting_at=None).count() == 2


def test_room_in_it_is_given_out_once(world: World, neighbour: Host) -> None:
    taken = sum(each.size_gib for each in Volume.objects.unscoped("test").all())
    StoragePool.objects.update(capacity_bytes=(taken + 3) * GIB)
    require_room(neighbour.default_pool, 3)
    with pytest.raises(NoCapacity):
        require_room(neighbour.default_pool, 4)
