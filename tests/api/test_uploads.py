"""Sending images: piece by piece, as a form, by URL; and what is refused before any of it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from portal.quotas import ledger
from tests.world import Caller, World
from vms import intake
from vms.models import Image, ImageUpload
from vms.services import uploads

PIECES = "application/offset+octet-stream"
BODY = {"name": "Debian 12", "format": "qcow2", "tenant": "acme"}
Call = Callable[..., Caller]


def begun(call: Call, size: int = 10, **more: Any) -> str:
    answer = call("owner").post("uploads", {**BODY, "size_bytes": size, **more})
    assert answer.status_code == 201, answer.content
    return str(answer.json()["id"])


def send(call: Call, id: str, offset: object, data: bytes, who: str = "owner", **headers: str) -> Any:
    headers = {"content_type": PIECES, "Upload_Offset": str(offset), **headers}
    return call(who).request("PATCH", f"uploads/{id}", data, **headers)


def test_piece_by_piece(call: Call, world: World) -> None:
    id = begun(call, sha256="A" * 64)
    assert ledger.used(world.acme.pk)["image_mib"] == 1
    first = send(call, id, 0, b"01234")
    assert (first.status_code, first["Upload-Offset"]) == (204, "5")
    assert call("member").request("HEAD", f"uploads/{id}")["Upload-Offset"] == "5"
    assert call("viewer").get(f"uploads/{id}").json()["offset"] == 5
    assert send(call, id, 5, b"56789", who="member").status_code == 204
    accepted = call("owner").post(f"uploads/{id}/actions/finish")
    assert accepted.status_code == 202, accepted.content
    image = accepted.json()["image"]
    assert (image["id"], image["state"], image["slug"]) == (id, "pending", "debian-12")
    assert accepted.json()["operation"]["kind"] == "image.import"
    assert intake.source(ImageUpload.objects.unscoped("test").get().pk).read_bytes() == b"0123456789"
    assert ledger.used(world.acme.pk)["image_mib"] == 1


def test_what_may_be_done_with_it(call: Call) -> None:
    id = begun(call)

    def allowed(who: str) -> set[str]:
        actions = call(who).get(f"uploads/{id}").json()["actions"]
        assert all(verdict["allowed"] == (not verdict["reason"]) for verdict in actions.values())
        return {name for name, verdict in actions.items() if verdict["allowed"]}

    assert (allowed("member"), allowed("viewer")) == ({"send", "delete"}, set())
    send(call, id, 0, b"0123456789")
    assert allowed("member") == {"finish", "delete"}
    call("owner").post(f"uploads/{id}/actions/finish")
    assert allowed("member") == set()


def test_few_at_a_time(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 2)
    for status in (201, 201, 409):
        answer = call("owner").post("uploads", {**BODY, "size_bytes": 10})
        assert answer.status_code == status
    assert answer.json()["code"] == "too_many_uploads"


def test_few_are_fetched_at_a_time(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 2)
    for number, status in enumerate((202, 202, 409)):
        body = {"name": f"x{number}", "format": "raw", "tenant": "acme", "url": f"https://example.org/{number}"}
        answer = call("owner").post("images", body)
        assert answer.status_code == status, answer.content
    assert answer.json()["code"] == "too_many_imports"


@pytest.mark.parametrize(
    ("offset", "data", "code"),
    [
        (0, b"xx", "upload_offset_mismatch"),  # overlap
        (3, b"xx", "upload_offset_mismatch"),
        (6, b"xx", "upload_offset_mismatch"),  # gap
        (5, b"x" * 6, "upload_too_long"),
        ("-1", b"x", "invalid"),
        ("5.0", b"x", "invalid"),
        ("", b"x", "invalid"),
        ("9" * 40, b"x", "invalid"),
    ],
)
def test_pieces_that_do_not_fit(call: Call, offset: object, data: bytes, code: str) -> None:
    id = begun(call)
    send(call, id, 0, b"01234")
    answer = send(call, id, offset, data)
    assert (answer.status_code in (400, 409), answer.json()["code"]) == (True, code)
    assert call("owner").get(f"uploads/{id}").json()["offset"] == 5


def test_a_mismatch_says_where_to_go_on(call: Call) -> None:
    id = begun(call)
    send(call, id, 0, b"0123")
    assert send(call, id, 0, b"0123").json()["offset"] == 4


def test_two_writers(call: Call) -> None:
    id = begun(call)
    with intake.writing(ImageUpload.objects.unscoped("test").get().pk):
        assert send(call, id, 0, b"01").json()["code"] == "upload_busy"
    assert send(call, id, 0, b"01").status_code == 204


def test_what_came_before_a_break_stays(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal import streams

    def broken(self: Any) -> Any:
        yield b"0123"
        raise streams.Lost

    id = begun(call)
    monkeypatch.setattr(streams._Whole, "pieces", broken)
    answer = send(call, id, 0, b"0123456789")
    assert (answer.status_code, answer.json()["code"]) == (408, "upload_interrupted")
    assert call("owner").get(f"uploads/{id}").json()["offset"] == 4


def test_finishing(call: Call) -> None:
    """Neither too early nor twice, and nothing can be sent afterwards."""
    id = begun(call)
    send(call, id, 0, b"01234")
    early = call("owner").post(f"uploads/{id}/actions/finish")
    assert (early.status_code, early.json()["code"], early.json()["offset"]) == (409, "upload_incomplete", 5)
    send(call, id, 5, b"56789")
    assert call("owner").post(f"uploads/{id}/actions/finish").status_code == 202
    again = call("owner").post(f"uploads/{id}/actions/finish")
    assert (again.status_code, again.json()["code"], again.json()["image"]) == (409, "upload_finished", id)
    assert send(call, id, 10, b"x").json()["code"] == "upload_finished"
    assert call("owner").delete(f"uploads/{id}").json()["code"] == "upload_finished"


def test_others_find_nothing(call: Call) -> None:
    id = begun(call)
    nowhere = call("foreign").get(f"uploads/{uuid4()}").json()
    for answer in (
        call("foreign").get(f"uploads/{id}"),
        send(call, id, 0, b"0", who="foreign"),
        call("foreign").post(f"uploads/{id}/actions/finish"),
        call("foreign").delete(f"uploads/{id}"),
    ):
        assert answer.status_code == 404
        assert answer.json()["detail"] == nowhere["detail"]
    assert id not in str(call("foreign").get("uploads").json())
    assert send(call, id, 0, b"0", who="viewer").status_code == 403


def test_giving_up_and_being_given_up(
    call: Call, world: World, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    for ending in ("dropped", "expired"):
        id = begun(call)
        send(call, id, 0, b"0123")
        with django_capture_on_commit_callbacks(execute=True):
            if ending == "dropped":
                assert call("member").delete(f"uploads/{id}").status_code == 204
            else:
                rows = ImageUpload.objects.unscoped("test")
                rows.update(expires_at=timezone.now() - timedelta(seconds=1))
                uploads.reap()
        assert call("owner").get(f"uploads/{id}").status_code == 404
        assert "image_mib" not in ledger.used(world.acme.pk)
        assert list(intake.ids()) == []


def test_reaping_leaves_what_somebody_has(call: Call) -> None:
    id = begun(call)
    send(call, id, 0, b"0123")
    intake.prepare(uuid4())
    uploads.reap()
    assert [str(found) for found in intake.ids()] == [id]


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_bytes": 0},
        {"size_bytes": 2**63},
        {"size_bytes": 20 * 1024**3 + 1},
        {"size_bytes": "10"},
        {"name": "a\nb"},
        {"name": ""},
        {"format": "qed"},
        {"format": "json:{}"},
        {"slug": "../x"},
        {"slug": "-O"},
        {"sha256": "0" * 63},
        {"sha256": "0" * 63 + "\n"},
        {"tenant": "beta"},
        {"default_user": "a\nb"},
        {"path": "/etc/passwd"},
        {"state": "ready"},
        {"url": "https://example.org/x"},
    ],
)
def test_what_cannot_be_begun(call: Call, world: World, wrong: dict[str, Any]) -> None:
    answer = call("owner").post("uploads", {**BODY, "size_bytes": 10, **wrong})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == list(wrong)
    assert not ImageUpload.objects.unscoped("test").exists()
    assert "image_mib" not in ledger.used(world.acme.pk)


def test_a_full_disk_is_said(call: Call, settings: Any) -> None:
    settings.INTAKE_RESERVE_BYTES = 2**62
    answer = call("owner").post("uploads", {**BODY, "size_bytes": 10})
    assert (answer.status_code, answer.json()["code"]) == (507, "no_space")


# -- as a form --------------------------------------------------------------------------------------------------------
def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, str]:
    """Name, file name or None, content."""
    lines = b""
    for name, file_name, content in parts:
        more = f'; filename="{file_name}"' if file_name is not None else ""
        lines += f'--edge\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
    return lines + b"--edge--\r\n", "multipart/form-data; boundary=edge"


FIELDS = (("name", None, b"Debian 12"), ("format", None, b"raw"), ("tenant", None, b"acme"))


def post_form(call: Call, *parts: tuple[str, str | None, bytes], who: str = "owner", **headers: str) -> Any:
    body, kind = form(*parts)
    return call(who).request("POST", "images", body, content_type=kind, **headers)


@pytest.mark.parametrize("name", ["x.raw", "../../x", "-O", "json:{}", "nbd:unix:/x", "fat:rw:x", "x" * 300])
def test_a_form(call: Call, name: str) -> None:
    """Whatever the file is called where it comes from, here it has our id."""
    data = bytes(range(256)) * 4096
    answer = post_form(call, *FIELDS, ("file", name, data))
    assert answer.status_code == 202, answer.content
    image = Image.objects.unscoped("test").get(pk=answer.json()["image"]["id"])
    assert intake.source(image.pk).read_bytes() == data
    assert (image.size_bytes, image.state) == (len(data), "pending")


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ((*FIELDS,), "file"),
        ((("file", "x", b"0"), *FIELDS), "name"),
        ((*FIELDS[:2], ("file", "x", b"0"), FIELDS[2]), "tenant"),
        ((*FIELDS, ("file", "x", b"0"), ("slug", None, b"x")), "file"),
        ((*FIELDS, ("file", "x", b"0"), ("file", "y", b"0")), "file"),
        ((*FIELDS, ("other", "x", b"0")), "other"),
        ((*FIELDS, ("path", None, b"/x"), ("file", "x", b"0")), "path"),
    ],
)
def test_forms_that_are_not_taken(call: Call, world: World, parts: Any, field: str) -> None:
    if field == "tenant":
        field = "file"  # the owner's only one is taken meanwhile
    answer = post_form(call, *parts)
    assert answer.status_code == 400, answer.content
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert not ImageUpload.objects.unscoped("test").exists()
    assert "image_mib" not in ledger.used(world.acme.pk)


def test_a_form_sent_again(call: Call) -> None:
    """The same key and file act once; another file with the key is refused, and nothing of it stays."""
    parts = (*FIELDS, ("file", "x", b"0" * 600))
    first = post_form(call, *parts, Idempotency_Key="k")
    again = post_form(call, *parts, Idempotency_Key="k")
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    other = post_form(call, *FIELDS, ("file", "x", b"1" * 600), Idempotency_Key="k")
    assert other.status_code == 422
    assert Image.objects.unscoped("test").filter(state="pending").count() == 1
    assert ImageUpload.objects.unscoped("test").count() == 1


def test_a_form_from_whoever_may_not(call: Call) -> None:
    for who, status in (("viewer", 403), ("foreign", 400), ("", 401), ("auditor", 403)):
        assert post_form(call, *FIELDS, ("file", "x", b"0"), who=who).status_code == status, who


# -- by URL -----------------------------------------------------------------------------------------------------------
def test_a_url(call: Call) -> None:
    answer = call("member").post("images", {**BODY, "url": "https://example.org/debian.qcow2?signature=secret"})
    assert answer.status_code == 202, answer.content
    assert "secret" not in answer.content.decode()
    assert "secret" not in call("owner").get("events").content.decode()


def test_names(call: Call) -> None:
    """A slug that was chosen is taken once; one that was made finds a free one."""
    url = {"url": "https://example.org/x"}
    slugs = [call("owner").post("images", {**BODY, **url}).json()["image"]["slug"] for _ in range(2)]
    assert slugs == ["debian-12", "debian-12-2"]
    taken = call("owner").post("images", {**BODY, **url, "slug": "debian-12"})
    assert (taken.status_code, taken.json()["code"]) == (409, "duplicate")
    assert call("owner").post("images", {**BODY, **url, "name": "Дебиан"}).json()["image"]["slug"] == "image"


def test_a_pending_image_is_no_choice(call: Call) -> None:
    image = call("owner").post("images", {**BODY, "url": "https://example.org/x"}).json()["image"]
    vm = {"name": "new", "image": image["slug"], "flavor": "small", "tenant": "acme"}
    assert call("owner").post("vms", vm).json()["errors"][0]["field"] == "image"
    assert call("owner").get(f"images/{image['slug']}").json()["state"] == "pending"
    assert call("foreign").get(f"images/{image['slug']}").status_code == 404
