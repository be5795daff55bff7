"""Images from tenants: by URL, as a file in a form, or piece by piece."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from django.core.files.uploadhandler import FileUploadHandler
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from portal import streams
from portal.api import idempotency
from portal.api.serializers import Boolean, Choice, Input, Text
from portal.api.views import ApiView
from portal.core.errors import DomainError, Invalid
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms.models import Image, ImageFormat, ImageUpload
from vms.services import uploads
from vms.services.uploads import NewImage

# What portal.streams is to leave to these views: method, path, beginning of the content type.
STREAMED = [
    ("POST", re.compile(r"/api/v1/images"), "multipart/form-data"),
    ("PATCH", re.compile(r"/api/v1/uploads/[0-9A-Fa-f-]{36}"), ""),
]


class Interrupted(DomainError):
    """The rest of a body did not come."""

    status = 408
    code = "upload_interrupted"


class LengthRequired(DomainError):
    status = 411
    code = "length_required"


class NewImageIn(Input):
    name = Text(max_length=100)
    format = Choice(ImageFormat.values, help_text="What the file is; it must be exactly that.")
    tenant = Text(max_length=63, required=False, allow_null=True, help_text="Slug or id; your only one if left out.")
    slug = Text(max_length=63, required=False, help_text="A DNS label; made from the name if left out.")
    sha256 = Text(max_length=64, required=False, help_text="Of the file; another one is refused.")
    description = Text(max_length=300, required=False, allow_blank=True)
    os = Text(max_length=60, required=False, allow_blank=True, help_text="What runs in it.")
    default_user = Text(max_length=32, required=False, allow_blank=True, help_text="Whom to log in as.")
    cloud_init = Boolean(required=False, help_text="Whether it reads the NoCloud seed at its first boot.")


class ImageUrlIn(NewImageIn):
    url = Text(max_length=2000, help_text="https, of a public server.")


class ImageFileIn(NewImageIn):
    """The fields come before the file."""

    file = serializers.FileField()


class ImageIntake(ApiView):
    """`POST /images`. A file is on the disk before anything is begun in the database that others would wait for."""

    permissions = {"POST": Permission.IMAGE_WRITE}
    sent: ImageUpload | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "POST" and streams.body_of(request._request).content_type.lower().startswith("multipart/"):
            self.actor.require_somewhere(Permission.IMAGE_WRITE)
            form = _Form(self.actor, request)
            self.sent = form.receive()
            request._request._body = form.fingerprint  # by which a repeated request is told from another

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        if self.sent is not None:
            uploads.discard_unfinished(self.sent, self.actor)
        return super().finalize_response(request, response, *args, **kwargs)

    def imported(self) -> tuple[Image, Operation]:
        """Of the form that was sent, or of the URL in the body."""
        self.actor.require_somewhere(Permission.IMAGE_WRITE)
        if self.sent is not None:
            return uploads.finish(actor=self.actor, upload_id=self.sent.pk)
        wanted = self.body(ImageUrlIn)
        url = wanted.pop("url")
        return uploads.import_url(actor=self.actor, request=new_image(wanted), url=url)


@contextmanager
def taking(request: Request) -> Iterator[Iterator[bytes]]:
    """`streams.taking`, whose end before the end becomes an answer."""
    try:
        with streams.taking(request._request) as pieces:
            yield pieces
    except streams.Lost as error:
        raise Interrupted("The rest did not come in time; ask for the offset and go on.") from error


def new_image(wanted: Mapping[str, Any]) -> NewImage:
    """From a validated body."""
    own = {name: wanted[name] for name in ("name", "format", "tenant", "slug", "sha256") if name in wanted}
    properties = {name: value for name, value in wanted.items() if name not in own}
    if "cloud_init" in properties:
        properties["has_cloud_init"] = properties.pop("cloud_init")
    return NewImage(**own, properties=properties)


class _Form(FileUploadHandler):
    """Reads a form whose last part is the file, and writes that as it comes."""

    chunk_size = 256 * 1024

    def __init__(self, actor: Actor, request: Request) -> None:
        super().__init__()
        self._actor = actor
        self._request = request
        self._body = streams.body_of(request._request)
        self._upload: ImageUpload | None = None
        self._open = ExitStack()
        self._fields: QueryDict
        self._digest = hashlib.sha256()
        self._is_kept = idempotency.HEADER in request.headers

    @property
    def fingerprint(self) -> bytes:
        """Of all that was sent, where the answer is to be kept."""
        return json.dumps([self._fields.dict(), self._digest.hexdigest()], sort_keys=True).encode()

    def receive(self) -> ImageUpload:
        """The upload, with all of it there. Where that fails, nothing is left of it."""
        if self._body.length is None:
            raise LengthRequired("Say how long the form is (Content-Length), or send the file in pieces.")
        try:
            with taking(self._request) as pieces, self._open:
                self._parse(_Reader(pieces), self._body.length)
            if self._upload is None:
                raise Invalid("Send the file.", code="required", field="file")
            uploads.cut(upload=self._upload)
            return self._upload
        except BaseException:
            if self._upload is not None:
                uploads.discard_unfinished(self._upload, self._actor)
            raise

    def _parse(self, reader: _Reader, length: int) -> None:
        about = {"CONTENT_TYPE": self._body.content_type, "CONTENT_LENGTH": length}
        try:
            parser = MultiPartParser(about, reader, [self])  # type: ignore[arg-type]
            self._parser = parser
            late, _ = parser.parse()
        except MultiPartParserError as error:
            raise ParseError("The form could not be read.") from error
        if self._upload is None and late:
            _validated(late)
        if self._upload is not None and set(late) != set(self._fields):
            raise Invalid("Put the file last, after the other fields.", field="file")

    # -- called by the parser --------------------------------------------------------------------------------------

    def new_file(self, field_name: str, *args: Any, **kwargs: Any) -> None:
        if field_name != "file" or self._upload is not None:
            raise Invalid("Send one file, in the field “file”.", code="unknown_field", field=field_name[:100])
        self._fields = self._parser._post.copy()  # type: ignore[attr-defined]  # what it has read so far
        assert self._body.length is not None
        self._upload = uploads.begin(
            actor=self._actor, request=new_image(_validated(self._fields)), size_bytes=self._body.length, field="file"
        )
        self._append = self._open.enter_context(
            uploads.appending(actor=self._actor, upload_id=self._upload.pk, offset=0)
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._append(raw_data)
        if self._is_kept:
            self._digest.update(raw_data)

    def file_complete(self, file_size: int) -> None:
        return None


class _Reader:
    """The pieces as a file that the parser reads from."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int) -> bytes:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = piece
        found, self._left = self._left[:size], self._left[size:]
        return found


def _validated(fields: QueryDict) -> dict[str, Any]:
    """A form has text only; what is not text in JSON is read from it."""
    if any(len(values) > 1 for _, values in fields.lists()):
        raise Invalid("Send each field once.")
    values: dict[str, Any] = fields.dict()
    if values.get("cloud_init") in ("true", "false"):
        values["cloud_init"] = values["cloud_init"] == "true"
    found = NewImageIn(data=values)
    found.is_valid(raise_exception=True)
    return dict(found.validated_data)
