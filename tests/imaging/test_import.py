"""Imports from the first byte to the image, or to nothing at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from portal.operations import engine, services
from portal.operations.models import Operation
from portal.quotas import ledger
from portal.quotas.models import Quota
from portal.tenancy.gate import Actor, actor_for
from tests.engine.kind import fresh, run_to_the_end
from tests.imaging import samples, servers
from tests.world import World
from vms import image_store, intake
from vms.audit import images as audit
from vms.imaging import qemu
from vms.models import Image, ImageState
from vms.services import uploads
from vms.services.uploads import NewImage


@pytest.fixture
def owner(world: World) -> Actor:
    return actor_for(world.people["owner"])


@pytest.fixture
def send(owner: Actor, tmp_path: Path) -> Callable[..., Operation]:
    """An import of a file that was sent whole."""

    def sent(make: samples.Make, told: str = "raw", **more: Any) -> Operation:
        file = tmp_path / uuid4().hex
        make(file)
        request = NewImage("Sent", told, **more)
        upload = uploads.begin(actor=owner, request=request, size_bytes=file.stat().st_size)
        with uploads.appending(actor=owner, upload_id=upload.pk, offset=0) as append:
            append(file.read_bytes())
        return uploads.finish(actor=owner, upload_id=upload.pk)[1]

    return sent


@pytest.fixture
def ended(django_capture_on_commit_callbacks: Any) -> Callable[[Operation], Operation]:
    def run(operation: Operation) -> Operation:
        with django_capture_on_commit_callbacks(execute=True):
            return run_to_the_end(operation)

    return run


def rows() -> Any:
    return Image.objects.unscoped("test").exclude(slug="tiny")


def require_nothing_left(world: World) -> None:
    assert not rows().exists()
    assert "image_mib" not in ledger.used(world.acme.pk)
    assert list(intake.ids()) == []
    assert list(image_store.path(world.image).parent.glob("image-*")) == []
    assert list(audit.findings()) == []


def test_the_portal_keeps_room_to_live(world: World, send: Any, ended: Any, settings: Any) -> None:
    """A small file may unfold to more than is left."""
    operation = send(samples.converted("qcow2"), "qcow2")
    settings.INTAKE_RESERVE_BYTES = 1 << 62
    assert ended(operation).error["code"] == "no_space"
    require_nothing_left(world)


def test_a_file_becomes_an_image(world: World, send: Any, ended: Any) -> None:
    operation = ended(send(samples.converted("vmdk"), "vmdk", properties={"os": "Debian", "default_user": "debian"}))
    assert operation.state == "succeeded", operation.error
    image = rows().get()
    file = image_store.path(image)
    assert (image.state, image.source_format, image.os, image.created_by) == ("ready", "vmdk", "Debian", "owner")
    assert image.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (image.size_bytes, image.virtual_size_bytes) == (file.stat().st_size, 8 << 20)
    samples.qemu_img("check", "-f", "qcow2", file, cwd=file.parent)
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o640, os.geteuid())
    assert ledger.used(world.acme.pk)["image_mib"] == -(-image.size_bytes // (1 << 20))
    assert list(intake.ids()) == []
    assert list(audit.findings()) == []


@pytest.mark.parametrize(
    ("told", "make", "code"),
    [
        ("qcow2", samples.backed("/etc/passwd"), "image_external_reference"),
        ("raw", samples.backed("/etc/passwd"), "image_format_mismatch"),
        ("qcow2", samples.created("qcow2", "2T"), "quota_exceeded"),  # 84
        ("qcow2", samples.shared_clusters, "quota_exceeded"),  # 86
        ("raw", samples.packed("bz2"), "image_compressed"),
    ],
)
def test_what_is_refused_leaves_nothing(
    world: World, send: Any, ended: Any, told: str, make: samples.Make, code: str
) -> None:
    operation = ended(send(make, told))
    assert (operation.state, operation.error["code"]) == ("failed", code)
    require_nothing_left(world)


def test_the_wrong_file(world: World, send: Any, ended: Any) -> None:
    operation = ended(send(samples.raw, sha256="0" * 64))
    assert (operation.state, operation.error["code"]) == ("failed", "checksum_mismatch")
    require_nothing_left(world)


def test_the_right_file(send: Any, ended: Any, tmp_path: Path) -> None:
    samples.raw(tmp_path / "x")
    sha256 = hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest().upper()
    assert ended(send(samples.raw, sha256=sha256)).state == "succeeded"


def test_a_tenant_without_room(world: World, owner: Actor, send: Any) -> None:
    Quota.objects.filter(tenant=world.acme).update(image_mib=4)
    with pytest.raises(ledger.Exceeded):
        send(samples.raw)
    require_nothing_left(world)


def test_a_cancel_ends_the_tool(world: World, owner: Actor, send: Any, ended: Any, monkeypatch: Any) -> None:
    """In the middle of a conversion, which would go on for long."""
    operation = send(samples.raw)
    monkeypatch.setattr(qemu, "_PROGRESS", qemu._PROGRESS)
    real = qemu.jail.run

    def slow(command: list[str], *rest: Any) -> Any:
        if command[1] == "convert":
            services.cancel(actor=owner, operation=operation)
            command = ["sleep", "60"]
        return real(command, *rest)

    monkeypatch.setattr(qemu.jail, "run", slow)
    assert ended(operation).state == "cancelled"
    require_nothing_left(world)


@pytest.mark.parametrize("step", ["receive", "inspect", "convert", "store"])
@pytest.mark.parametrize("fails", [False, True])
def test_each_step_may_be_run_again(
    world: World, send: Any, ended: Any, monkeypatch: pytest.MonkeyPatch, step: str, fails: bool
) -> None:
    """Cut off after its effect, or undone there."""
    told: list[str] = []

    def hook(moment: str, name: str) -> None:
        if (moment, name) == ("after", step) and not told:
            told.append(name)
            raise services.Conflict("cut off") if fails else engine.TransientError("cut off")

    monkeypatch.setattr(engine, "step_hook", hook)
    operation = ended(send(samples.raw))
    assert told == [step]
    assert operation.state == ("failed" if fails else "succeeded"), operation.error
    if fails:
        require_nothing_left(world)


def test_the_same_bytes_are_kept_once(world: World, send: Any, ended: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stay while anybody names them, whatever becomes of another import of them."""
    first, second = (send(samples.raw, slug=slug) for slug in ("one", "two"))
    assert ended(first).state == "succeeded"

    def hook(moment: str, name: str) -> None:
        if (moment, name) == ("after", "store"):
            raise services.Conflict("cut off")

    monkeypatch.setattr(engine, "step_hook", hook)
    assert ended(second).state == "failed"
    image = rows().get()
    assert image_store.path(image).is_file()


def test_a_store_that_another_worker_is_changing_is_waited_for(send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = send(samples.raw)
    monkeypatch.setattr(image_store, "LOCK_SECONDS", 0.0)
    with image_store.locked():
        engine.run(operation.pk)
    waiting = fresh(operation)
    assert (waiting.state, waiting.waiting_for) == ("queued", "the store of images, which another worker is changing")
    assert run_to_the_end(operation).state == "succeeded"


def test_a_worker_that_lost_it_writes_nothing(world: World, send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = send(samples.raw)
    taken = Operation.objects.unscoped("test").filter(pk=operation.pk)

    def hook(moment: str, name: str) -> None:
        if (moment, name) == ("before", "store"):
            taken.update(fence=99)

    monkeypatch.setattr(engine, "step_hook", hook)
    engine.run(operation.pk)
    assert fresh(operation).fence == 99
    assert rows().get().sha256 == ""
    assert rows().get().state == ImageState.PENDING


# -- by URL -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def fetched(owner: Actor, ended: Any, settings: Any) -> Callable[..., Operation]:
    """An import from a server here, which is allowed for once."""

    def run(server: servers.Server, **more: Any) -> Operation:
        settings.IMAGE_URL_HTTP, settings.IMAGE_URL_ALLOW = True, [f"127.0.0.1:{server.port}"]
        request = NewImage("Fetched", "raw", **more)
        url = f"http://127.0.0.1:{server.port}/disk.raw"
        found: Operation = ended(uploads.import_url(actor=owner, request=request, url=url)[1])
        return found

    return run


@contextmanager
def serving(tmp_path: Path) -> Iterator[servers.Server]:
    samples.raw(tmp_path / "disk")
    with servers.serving((tmp_path / "disk").read_bytes()) as server:
        yield server


def test_a_url_becomes_an_image(world: World, fetched: Any, tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        operation = fetched(server)
    assert operation.state == "succeeded", operation.error
    assert rows().get().state == ImageState.READY
    assert list(intake.ids()) == []


@pytest.mark.parametrize(
    ("trick", "code"),
    [
        ("stops", "fetch_failed"),
        ("no-length", "fetch_failed"),
        ("huge", "image_too_large"),
        ("gzip", "fetch_failed"),
        ("error", "fetch_failed"),
        ("loop", "fetch_failed"),
        ("to-metadata", "url_not_allowed"),
    ],
)
def test_servers_that_trick(world: World, fetched: Any, tmp_path: Path, trick: str, code: str) -> None:
    with serving(tmp_path) as server:
        server.trick = trick
        operation = fetched(server)
    assert (operation.state, operation.error["code"]) == ("failed", code)
    assert "canary" not in str(operation.error)
    require_nothing_left(world)


def test_a_name_may_be_known_and_not_allowed(world: World, owner: Actor, ended: Any) -> None:
    """What its name leads to is looked at by the worker: here, the portal's own machine."""
    name = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
    url = f"https://{name}.example.invalid/x"
    operation = ended(uploads.import_url(actor=owner, request=NewImage("Fetched", "raw"), url=url)[1])
    assert (operation.state, operation.error["code"]) == ("failed", "fetch_failed")
    require_nothing_left(world)
