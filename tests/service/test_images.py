"""Images on a real host: brought, published, booted by CD and by UEFI, and deleted."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.driver.media import bootable_iso, uefi_disk
from tests.service.host import Host, qemu_io
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

MIB = 1024**2
PIECE = 3 * MIB


def upload(stack: Stack, source: Path, name: str, fmt: str, **properties: Any) -> dict[str, Any]:
    """A file in pieces, as the page sends it; the image when it is ready."""
    body = {"tenant": "demo", "name": name, "format": fmt, "size_bytes": source.stat().st_size, **properties}
    answer = stack.api("POST", "/uploads", body)
    assert answer.status_code == 201, answer.text
    path, at = answer.headers["Location"], 0
    with source.open("rb") as file:
        while piece := file.read(PIECE):
            at = send(stack, path, at, piece)
    accepted = stack.accepted("POST", f"{path}/actions/finish")
    operation = stack.finished(accepted["operation"])
    assert operation["status"] == "succeeded", operation
    return dict(stack.get(f"/images/{accepted['image']['id']}"))


def send(stack: Stack, path: str, at: int, piece: bytes) -> int:
    headers = {
        "Authorization": f"Bearer {stack.token()}",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(at),
    }
    answer = requests.patch(f"{stack.url}{path}", data=piece, headers=headers, timeout=60)
    assert answer.status_code == 204, answer.text
    return int(answer.headers["Upload-Offset"])


def delete_image(stack: Stack, image: dict[str, Any]) -> None:
    stack.succeeded("DELETE", f"/images/{image['id']}")
    assert stack.api("GET", f"/images/{image['id']}").status_code == 404


def status(stack: Stack, vm: dict[str, Any]) -> str:
    return str(stack.get(f"/vms/{vm['id']}")["status"])


@pytest.fixture
def room(stack: Stack) -> Iterator[dict[str, int]]:
    """What the tenant used before is what it uses afterwards."""
    before = stack.get("/quotas/demo")["used"]
    yield before
    assert stack.get("/quotas/demo")["used"] == before


def test_a_machine_becomes_an_image_and_that_a_machine(stack: Stack, host: Host, room: dict[str, int]) -> None:
    vm = stack.create("golden")
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/force-off", {})
    disk = host.pool_path / host.root_volume(vm["id"])
    assert qemu_io(disk, "write -P 91 700M 64M")
    accepted = stack.accepted("POST", f"/vms/{vm['id']}/actions/publish", {"name": "Golden image"})
    assert stack.api("POST", f"/vms/{vm['id']}/actions/start", {}).status_code == 409
    operation = stack.finished(accepted["operation"], seconds=180)
    assert operation["status"] == "succeeded", operation
    image = stack.get(f"/images/{accepted['image']['id']}")
    assert (image["visibility"], image["slug"], image["state"]) == ("private", "golden-image", "ready")
    assert image["virtual_size_bytes"] == 1024**3
    assert image["sha256"] == stored_sha256(stack, image)
    assert host.copiers() == []
    assert f"{image['id']}.qcow2" not in host.volumes()
    assert stack.get("/quotas/demo")["used"]["image_mib"] == -(-image["size_bytes"] // MIB)
    twin = stack.create("twin", image=image["slug"])
    stack.succeeded("POST", f"/vms/{twin['id']}/actions/force-off", {})
    assert qemu_io(host.pool_path / host.root_volume(twin["id"]), "read -P 91 700M 64M")
    assert not qemu_io(host.pool_path / host.root_volume(twin["id"]), "read -P 92 700M 64M")
    (copy,) = stack.get(f"/images/{image['id']}", user="admin")["copies"]
    assert copy["verified_at"] is not None
    refused = stack.api("DELETE", f"/images/{image['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert "twin stands on it" in refused.json()["detail"]
    for each in (twin, vm):
        stack.delete(each)
    delete_image(stack, image)
    assert not stored(stack, image).exists()
    assert stored(stack, image).name not in host.volumes()


def stored(stack: Stack, image: dict[str, Any]) -> Path:
    return stack.data / "images" / f"image-{image['sha256'][:32]}.qcow2"


def stored_sha256(stack: Stack, image: dict[str, Any]) -> str:
    return hashlib.sha256(stored(stack, image).read_bytes()).hexdigest()


def test_an_installer_boots_from_its_cd(stack: Stack, host: Host, room: dict[str, int], tmp_path: Path) -> None:
    """It says so by powering its machine off."""
    (tmp_path / "installer.iso").write_bytes(bootable_iso())
    image = upload(stack, tmp_path / "installer.iso", "Installer", "iso", cloud_init=False)
    vm = stack.create("installed", image=image["slug"])
    wait_until(lambda: status(stack, vm) == "stopped", 60, "the installer's own power-off")
    devices = host.xml(vm["id"]).find("devices")
    assert devices is not None
    assert {disk.get("device") for disk in devices.findall("disk")} == {"disk", "cdrom"}
    disk = host.pool_path / host.root_volume(vm["id"])
    info = subprocess.run(["qemu-img", "info", "-f", "qcow2", disk], check=True, capture_output=True, text=True).stdout
    assert "backing file" not in info
    stack.delete(vm)
    delete_image(stack, image)


def test_an_image_boots_by_uefi_and_again_after_a_return_to_a_snapshot(
    stack: Stack, host: Host, room: dict[str, int], tmp_path: Path
) -> None:
    (tmp_path / "efi.raw").write_bytes(uefi_disk(tmp_path))
    image = upload(stack, tmp_path / "efi.raw", "By UEFI", "raw", cloud_init=False)
    stack.api("PATCH", f"/images/{image['id']}", {"firmware": "uefi"})
    vm = stack.create("modern", image=image["slug"])
    assert host.xml(vm["id"]).find("os").get("firmware") == "efi"  # type: ignore[union-attr]
    wait_until(lambda: status(stack, vm) == "stopped", 120, "the program's own power-off")
    taken = stack.succeeded("POST", f"/vms/{vm['id']}/snapshots", {"name": "off"})["snapshot"]
    spoil(host.pool_path / host.root_volume(vm["id"]))
    stack.succeeded("POST", f"/snapshots/{taken['id']}/actions/revert", {})
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/start", {})
    wait_until(lambda: status(stack, vm) == "stopped", 120, "the same of the program that it returned to")
    stack.delete(vm)
    delete_image(stack, image)


def spoil(disk: Path) -> None:
    """Nothing boots from it any more."""
    assert qemu_io(disk, "write -z 0 8M")


def test_an_unused_copy_leaves_its_host(stack: Stack, host: Host, room: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "installer.iso").write_bytes(bootable_iso(bytes.fromhex("faf4")))
    image = upload(stack, tmp_path / "installer.iso", "Unused", "iso", cloud_init=False)
    vm = stack.create("once", image=image["slug"])
    (copy,) = stack.get(f"/images/{image['id']}", user="admin")["copies"]
    path, body = f"/images/{image['id']}/actions/evict", {"copy": copy["id"]}
    assert stack.api("POST", path, body, user="admin").json()["code"] == "in_use"
    stack.delete(vm)
    assert stored(stack, image).name in host.volumes()
    accepted = stack.accepted("POST", path, body, user="admin")
    assert stack.finished(accepted["operation"], user="admin")["status"] == "succeeded"
    assert stored(stack, image).name not in host.volumes()
    again = stack.create("again", image=image["slug"])
    assert stored(stack, image).name in host.volumes()
    stack.delete(again)
    delete_image(stack, image)
