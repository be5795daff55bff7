"""Images of tenants on real QEMU: a disk in another's format, sent in pieces, becomes a machine that runs."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.imaging import servers
from tests.stack import Stack

pytestmark = pytest.mark.service


def converted(stack: Stack, fmt: str, *options: str) -> bytes:
    """The tiny image in that format."""
    path = stack.data / f"sent-{secrets.token_hex(4)}"
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", fmt, *options, str(stack.tiny), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    data = path.read_bytes()
    path.unlink()
    return data


def sent(stack: Stack, data: bytes, **body: Any) -> dict[str, Any]:
    """The operation of an import, in three pieces."""
    named = {"name": f"i-{secrets.token_hex(4)}", "default_user": "tiny", "sha256": hashlib.sha256(data).hexdigest()}
    answer = stack.api("POST", "/uploads", {**named, "size_bytes": len(data), **body})
    assert answer.status_code == 201, answer.text
    id, third = answer.json()["id"], len(data) // 3
    for start, end in ((0, third), (third, 2 * third), (2 * third, len(data))):
        headers = {"Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
        assert stack.api("PATCH", f"/uploads/{id}", data=data[start:end], headers=headers).status_code == 204
    return dict(stack.accepted("POST", f"/uploads/{id}/actions/finish", {}))


def require_it_runs(stack: Stack, image: dict[str, Any]) -> None:
    now = stack.get(f"/images/{image['id']}")
    assert (now["state"], now["virtual_size_bytes"]) == ("ready", stack.get("/images/tiny")["virtual_size_bytes"])
    vm = stack.create(image=image["slug"])
    assert vm["status"] == "running"
    stack.delete(vm)
    stack.succeeded("DELETE", f"/images/{image['id']}")


def test_a_disk_of_another_kind_runs(stack: Stack) -> None:
    accepted = sent(stack, converted(stack, "vmdk", "-o", "subformat=streamOptimized"), format="vmdk")
    operation = stack.finished(accepted["operation"])
    assert operation["status"] == "succeeded", operation
    require_it_runs(stack, accepted["image"])


def test_a_hostile_one_is_refused(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "x"
    command = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", str(path), "64K"]
    subprocess.run(command, check=True)
    used = stack.get("/quotas/demo")["used"]["image_mib"]
    accepted = sent(stack, path.read_bytes(), format="qcow2")
    operation = stack.finished(accepted["operation"])
    assert (operation["status"], operation["error"]["code"]) == ("failed", "image_external_reference")
    assert stack.api("GET", f"/images/{accepted['image']['id']}").status_code == 404
    assert stack.get("/quotas/demo")["used"]["image_mib"] == used


def test_the_portal_fetches_nothing_from_itself(stack: Stack) -> None:
    with servers.serving(b"canary") as server:
        for url in (f"http://127.0.0.1:{server.port}/", f"https://127.0.0.1:{server.port}/", f"{stack.url}/healthz"):
            answer = stack.api("POST", "/images", {"name": "x", "format": "raw", "url": url})
            assert (answer.status_code, answer.json()["code"]) == (400, "url_not_allowed")
        assert server.seen == []
