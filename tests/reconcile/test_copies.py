"""Copies of images in pools: brought on first use, verified, and gone when nobody needs them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from hosts.connections import driver_for
from hosts.driver.errors import Unreachable
from hosts.driver.memory import MemoryHost
from portal.core.errors import Conflict
from portal.operations.models import Operation
from portal.operations.workflow import TransientError
from portal.tenancy.gate import SYSTEM
from tests.world import World
from vms import copies, image_store
from vms.models import VM, Image, ImageCopy
from vms.services import copies as services
from vms.services.create import CreateVM, create_vm
from vms.services.delete import delete_vm
from vms.services.images import delete_image

MIB = 1024**2
Work = Callable[[], list[Operation]]


@pytest.fixture
def image(world: World, host: MemoryHost, tmp_path: Path, settings: Settings) -> Image:
    """Of acme's own, with its file in the store."""
    settings.IMAGE_DIR = tmp_path / "images"
    settings.IMAGE_DIR.mkdir()
    content = b"QFI\xfb" + (3).to_bytes(4) + bytes(16) + (256 * MIB).to_bytes(8) + bytes(3 * MIB)
    image = world.own_image(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    image_store.path(image).write_bytes(content)
    return image


def create(image: Image, name: str = "new") -> Operation:
    request = CreateVM(name=name, image=str(image.pk), flavor="small", tenant="acme")
    return create_vm(actor=SYSTEM, request=request)[1]


def test_it_comes_on_first_use_and_is_verified_once(world: World, image: Image, host: MemoryHost, work: Work) -> None:
    create(image)
    assert [operation.state for operation in work()] == ["succeeded"]
    copy = ImageCopy.objects.get(sha256=image.sha256)
    assert copy.verified_at is not None
    assert copy.pool == world.host.default_pool
    host.calls.clear()
    create(image, "second")
    work()
    assert {"upload", "download"} & set(host.calls) == {"upload"}  # of the seed


def test_one_that_arrives_damaged_is_told_and_removed(image: Image, host: MemoryHost, work: Work) -> None:
    path = image_store.path(image)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    create(image)
    (operation,) = work()
    assert operation.state == "failed"
    assert operation.error["code"] == "image_copy_damaged"  # type: ignore[index]
    assert image.file_name not in {name for _, name in host.volumes}


def test_nobody_stands_on_what_is_being_removed(world: World, image: Image, work: Work) -> None:
    create(image)
    work()
    copy = ImageCopy.objects.get(sha256=image.sha256)
    with pytest.raises(Conflict):
        services.evict_copy(actor=SYSTEM, copy=copy)
    ImageCopy.objects.filter(pk=copy.pk).update(evicting_at=timezone.now())
    with pytest.raises(TransientError):
        copies.claim(image, world.host.default_pool)


def test_it_goes_when_nobody_has_used_it_for_long(image: Image, host: MemoryHost, work: Work) -> None:
    operation = create(image)
    work()
    long_ago = timezone.now() - timedelta(days=60)
    rows = ImageCopy.objects.filter(sha256=image.sha256)
    rows.update(used_at=long_ago)
    services.evict_unused()
    assert work() == []
    delete_vm(actor=SYSTEM, vm=VM.objects.unscoped("test").get(pk=operation.target_id), purge=True)
    work()
    work()
    services.evict_unused()
    assert [ended.kind for ended in work()] == ["image.evict"]
    assert not rows.exists()
    assert image.file_name not in {name for _, name in host.volumes}
    assert image_store.path(image).exists()


def test_what_the_host_has_and_no_row_tells_keeps_it(world: World, image: Image, host: MemoryHost, work: Work) -> None:
    pool = world.host.default_pool
    driver = driver_for(world.host)
    driver.upload(pool.name, image.file_name, image_store.path(image), "qcow2")
    driver.ensure_overlay(pool.name, "by-hand.qcow2", image.file_name, MIB)
    copies.claim(image, pool)
    services.evict_copy(actor=SYSTEM, copy=ImageCopy.objects.get(sha256=image.sha256))
    (operation,) = work()
    assert operation.error["code"] == "in_use"  # type: ignore[index]
    assert ImageCopy.objects.get(sha256=image.sha256).evicting_at is None
    assert (pool.name, image.file_name) in host.volumes


class TestDelete:
    def test_file_and_copies_go(self, world: World, image: Image, host: MemoryHost, work: Work) -> None:
        pool, path = world.host.default_pool, image_store.path(image)
        driver_for(world.host).upload(pool.name, image.file_name, path, "qcow2")
        copies.claim(image, pool)
        delete_image(actor=SYSTEM, image=image)
        assert [operation.state for operation in work()] == ["succeeded"]
        assert not path.exists()
        assert not ImageCopy.objects.filter(sha256=image.sha256).exists()
        assert image.file_name not in {name for _, name in host.volumes}
        assert not Image.objects.unscoped("test").filter(pk=image.pk).exists()

    def test_an_eviction_that_was_cut_off_is_gone_on_with(self, world: World, image: Image, work: Work) -> None:
        copies.claim(image, world.host.default_pool)
        rows = ImageCopy.objects.filter(sha256=image.sha256)
        rows.update(evicting_at=timezone.now())
        delete_image(actor=SYSTEM, image=image)
        work()
        assert not rows.exists()

    def test_one_that_was_given_up_may_be_used_again(self, world: World, image: Image) -> None:
        copies.claim(image, world.host.default_pool)
        ImageCopy.objects.filter(sha256=image.sha256).update(evicting_at=timezone.now() - timedelta(hours=2))
        services.evict_unused()
        copies.claim(image, world.host.default_pool)

    def test_a_file_that_another_image_names_stays(self, world: World, image: Image, work: Work) -> None:
        twin = Image.objects.create(
            tenant=world.beta, slug="twin", name="twin", sha256=image.sha256, size_bytes=1, virtual_size_bytes=1
        )
        copies.claim(image, world.host.default_pool)
        delete_image(actor=SYSTEM, image=image)
        work()
        assert image_store.path(twin).exists()
        assert ImageCopy.objects.filter(sha256=twin.sha256).exists()

    def test_a_host_that_is_away_delays_nothing(self, world: World, image: Image, host: MemoryHost, work: Work) -> None:
        copies.claim(image, world.host.default_pool)
        host.fail_next("inventory", Unreachable("gone"))
        delete_image(actor=SYSTEM, image=image)
        assert [operation.state for operation in work()] == ["succeeded"]
        assert ImageCopy.objects.get(sha256=image.sha256).evicting_at is None
