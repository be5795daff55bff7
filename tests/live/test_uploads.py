"""Files come through the server to the disk: larger than any other body, kept where they break off, never in memory."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from portal.accounts import tokens
from portal.tenancy.gate import SYSTEM
from portal.tenancy.roles import Role
from portal.tenancy.services import create_tenant, set_member
from tests.live.site import Site
from tests.stack import wait_until
from vms.models import Image, ImageUpload

MIB = 1 << 20
PIECES = {"Content-Type": "application/offset+octet-stream"}


class Program:
    def __init__(self, site: Site, token: str) -> None:
        self.site = site
        self.headers = {"Authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {**self.headers, **more.pop("headers", {})}
        return requests.request(method, f"{self.site.origin}/api/v1/{path}", headers=headers, timeout=60, **more)

    def begin(self, size_bytes: int) -> str:
        body = {"name": "Sent", "format": "raw", "size_bytes": size_bytes}
        answer = self.call("POST", "uploads", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def send(self, id: str, offset: int, data: Any, **headers: str) -> requests.Response:
        headers = {**PIECES, "Upload-Offset": str(offset), **headers}
        return self.call("PATCH", f"uploads/{id}", data=data, headers=headers)

    def offset(self, id: str) -> int:
        return int(self.call("HEAD", f"uploads/{id}").headers["Upload-Offset"])


@pytest.fixture
def program(site: Site) -> Program:
    from portal.accounts.models import User

    name = f"u{time.monotonic_ns()}"
    user = User.objects.create_user(name, password="correct horse battery")
    tenant = create_tenant(actor=SYSTEM, name=name, slug=name)
    set_member(actor=SYSTEM, tenant=tenant, username=name, role=Role.OWNER)
    return Program(site, tokens.issue(user=user, name="test", scopes=["*"])[1])


def pieces(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * MIB


def stored(site: Site, id: str) -> Path:
    return site.data / "intake" / id / "source"


def test_a_piece_is_larger_than_any_other_body(program: Program) -> None:
    id = program.begin(64 * MIB)
    before = program.site.memory_kib()
    assert program.send(id, 0, b"".join(pieces(32))).headers["Upload-Offset"] == str(32 * MIB)
    assert program.send(id, 32 * MIB, pieces(32)).status_code == 204, "chunked, without a length"
    assert stored(program.site, id).read_bytes() == b"".join(pieces(32)) * 2
    assert program.site.memory_kib() - before < 32 * 1024


def test_what_came_before_the_connection_broke_is_kept(program: Program) -> None:
    id = program.begin(8 * MIB)
    head = f"PATCH /api/v1/uploads/{id} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpload-Offset: 0\r\n"
    head += f"Content-Type: {PIECES['Content-Type']}\r\nContent-Length: {8 * MIB}\r\n"
    head += f"Authorization: {program.headers['Authorization']}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", program.site.port)) as connection:
        connection.sendall(head.encode() + b"x" * 3 * MIB)
        wait_until(lambda: program.offset(id) == 3 * MIB, 10, "the first pieces")
        assert program.send(id, 3 * MIB, b"y").json()["code"] == "upload_busy"
    wait_until(lambda: program.send(id, 3 * MIB, b"y").status_code == 204, 10, "the end of the broken one")
    assert program.offset(id) == 3 * MIB + 1


def test_refusals_come_before_the_body(program: Program) -> None:
    """Nobody sends gigabytes to be told no."""
    id = program.begin(8 * MIB)
    for path, headers, status in (
        (f"uploads/{id}", {"Upload-Offset": "5"}, 409),
        (f"uploads/{id}", {"Upload-Offset": "0", "Authorization": "Bearer wrong"}, 401),
        (f"uploads/{id[:-4]}0000", {"Upload-Offset": "0"}, 404),
        (f"uploads/{id}", {"Upload-Offset": "0", "Content-Length": str(9 * MIB)}, 400),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", program.site.port, timeout=10)
        connection.putrequest("PATCH", f"/api/v1/{path}")
        for name, value in {"Content-Length": str(8 * MIB), **PIECES, **program.headers, **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Content-Type")) == (status, "application/problem+json")
        connection.close()
    assert program.offset(id) == 0


def test_more_than_was_announced_is_refused(program: Program) -> None:
    id = program.begin(4 * MIB)
    answer = program.send(id, 0, pieces(5))
    assert (answer.status_code, answer.json()["code"]) == (400, "upload_too_long")
    assert program.offset(id) <= 4 * MIB


def test_a_file_in_a_form(program: Program) -> None:
    """The same size of form to another address is refused, as ever."""
    before = program.site.memory_kib()
    data = b"".join(pieces(48))
    form = {"name": "In a form", "format": "raw"}
    answer = program.call("POST", "images", data=form, files={"file": ("../../x", data)})
    assert answer.status_code == 202, answer.text
    image = Image.objects.unscoped("test").get(pk=answer.json()["image"]["id"])
    assert stored(program.site, str(image.pk)).read_bytes() == data
    assert image.size_bytes == len(data)
    assert program.site.memory_kib() - before < 32 * 1024
    assert program.call("POST", "vms", files={"file": ("x", data)}).status_code == 413


def test_a_form_that_breaks_off_leaves_nothing(program: Program) -> None:
    edge = b'--e\r\nContent-Disposition: form-data; name="'
    head = f"POST /api/v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {8 * MIB}\r\n"
    head += "Content-Type: multipart/form-data; boundary=e\r\n"
    head += f"Authorization: {program.headers['Authorization']}\r\n\r\n"
    parts = edge + b'name"\r\n\r\nbroken\r\n' + edge + b'format"\r\n\r\nraw\r\n' + edge + b'file"; filename="x"\r\n\r\n'
    rows = ImageUpload.objects.unscoped("test").filter(name="broken")
    with socket.create_connection(("127.0.0.1", program.site.port)) as connection:
        connection.sendall(head.encode() + parts + b"x" * 3 * MIB)
        wait_until(rows.exists, 10, "the upload")
        id = str(rows.get().pk)
        wait_until(lambda: stored(program.site, id).exists(), 10, "its file")
    wait_until(lambda: not rows.exists(), 10, "the end of the upload")
    wait_until(lambda: not stored(program.site, id).parent.exists(), 10, "the end of its file")


def test_a_page_needs_its_csrf_token(program: Program) -> None:
    id = program.begin(MIB)
    session = requests.Session()
    page = f"{program.site.origin}/accounts/login/"
    session.get(page, timeout=20)
    user = ImageUpload.objects.unscoped("test").get(pk=id).created_by
    token = session.cookies["berth_csrf"]
    form = {"login": user, "password": "correct horse battery", "csrfmiddlewaretoken": token}
    session.post(page, data=form, timeout=20)
    url = f"{program.site.origin}/api/v1/uploads/{id}"
    headers = {**PIECES, "Upload-Offset": "0"}
    assert session.patch(url, data=b"x", headers=headers, timeout=20).status_code == 403
    headers["X-CSRFToken"] = session.cookies["berth_csrf"]
    assert session.patch(url, data=b"x", headers=headers, timeout=20).status_code == 204
    assert json.loads(session.get(url, timeout=20).text)["offset"] == 1
