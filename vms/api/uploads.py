"""Files that come piece by piece, after the manner of tus 1.0: whoever was cut off asks for the offset and goes on."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from portal import streams
from portal.api.references import tenant_in
from portal.api.serializers import Input, Integer, Text
from portal.api.views import ApiView
from portal.core.errors import Invalid
from portal.tenancy.roles import Permission
from vms import intake, selectors
from vms.api.catalogue import ImageAcceptedOut, image_data
from vms.api.intake import NewImageIn, new_image, taking
from vms.api.serializers import VerdictOut
from vms.models import ImageFormat, ImageUpload
from vms.services import uploads

PIECES = "application/offset+octet-stream"
OFFSET, LENGTH = "Upload-Offset", "Upload-Length"
MOST_BYTES = 2**53  # an exact number in every reader of JSON


class UploadIn(NewImageIn):
    size_bytes = Integer(min_value=1, max_value=MOST_BYTES)


class UploadFilter(Input):
    tenant = Text(required=False, help_text="Slug or id.")


class UploadActionsOut(serializers.Serializer[Any]):
    """What you may do with it now, and why not."""

    send = VerdictOut()
    finish = VerdictOut()
    delete = VerdictOut()


class UploadOut(serializers.Serializer[Any]):
    """A file on its way to become an image."""

    # Context: `actor`.
    id = serializers.UUIDField(help_text="The image will have it too.")
    name = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug")
    format = serializers.ChoiceField(choices=ImageFormat.values)
    size_bytes = serializers.IntegerField(help_text="That it is to have.")
    offset = serializers.SerializerMethodField(help_text="Bytes that are there: go on from here.")
    sha256 = serializers.CharField()
    finished = serializers.SerializerMethodField()
    expires_at = serializers.DateTimeField(help_text="When it is given up, unless more comes.")
    actions = serializers.SerializerMethodField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()

    @extend_schema_field(UploadActionsOut)
    def get_actions(self, upload: ImageUpload) -> dict[str, dict[str, Any]]:
        found = selectors.upload_actions(self.context["actor"], upload)
        return {name: {"allowed": verdict.allowed, "reason": verdict.reason} for name, verdict in found.items()}

    def get_offset(self, upload: ImageUpload) -> int:
        return upload.size_bytes if upload.finished_at else intake.received(upload.pk)

    def get_finished(self, upload: ImageUpload) -> bool:
        return upload.finished_at is not None


class Uploads(ApiView):
    permissions = {"GET": Permission.IMAGE_READ, "POST": Permission.IMAGE_WRITE}

    @extend_schema(parameters=[UploadFilter], responses=UploadOut(many=True))
    def get(self, request: Request) -> Response:
        """Uploads of your tenants, newest first."""
        tenant = tenant_in(self.actor, self.query(UploadFilter).get("tenant"), Permission.IMAGE_READ)
        page = self.page(selectors.uploads(self.actor, tenant))
        return self.listed(UploadOut(page, many=True, context={"actor": self.actor}).data)

    @extend_schema(request=UploadIn, responses={201: UploadOut})
    def post(self, request: Request) -> Response:
        """Begin to send a file, which may then come in pieces and be gone on with. It counts from now on."""
        self.actor.require_somewhere(Permission.IMAGE_WRITE)
        wanted = self.body(UploadIn)
        size_bytes = wanted.pop("size_bytes")
        upload = uploads.begin(actor=self.actor, request=new_image(wanted), size_bytes=size_bytes)
        return self.created(UploadOut(upload, context={"actor": self.actor}).data, f"/api/v1/uploads/{upload.pk}")


class UploadDetail(ApiView):
    permissions = {"GET": Permission.IMAGE_READ, "PATCH": Permission.IMAGE_WRITE, "DELETE": Permission.IMAGE_WRITE}
    keyless = ("patch",)

    @extend_schema(responses=UploadOut)
    def get(self, request: Request, id: UUID) -> Response:
        """How much is there. HEAD gives it in Upload-Offset alone."""
        upload = selectors.upload(self.actor, id)
        data = UploadOut(upload, context={"actor": self.actor}).data
        return Response(data, headers={OFFSET: str(data["offset"]), LENGTH: str(upload.size_bytes)})

    @extend_schema(
        request={PIECES: OpenApiTypes.BINARY},
        parameters=[OpenApiParameter(OFFSET, OpenApiTypes.INT64, OpenApiParameter.HEADER, required=True)],
        responses={204: None},
    )
    def patch(self, request: Request, id: UUID) -> Response:
        """Send the next piece, from the byte that Upload-Offset names. Where it breaks off, what came stays."""
        body = streams.body_of(request._request)
        uploads.unfinished(self.actor, id)
        if body.content_type.split(";")[0].strip().lower() not in (PIECES, "application/octet-stream", ""):
            raise UnsupportedMediaType(body.content_type[:100], f"Send pieces as {PIECES}.")
        with (
            uploads.appending(actor=self.actor, upload_id=id, offset=_offset(request), length=body.length) as append,
            taking(request) as pieces,
        ):
            for piece in pieces:
                append(piece)
        return Response(status=204, headers={OFFSET: str(intake.received(id))})

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Give it up."""
        uploads.drop(actor=self.actor, upload_id=id)
        return Response(status=204)


class UploadFinish(ApiView):
    permissions = {"POST": Permission.IMAGE_WRITE}

    @extend_schema(request=None, responses={202: ImageAcceptedOut})
    def post(self, request: Request, id: UUID) -> Response:
        """All pieces are there: inspect it and make an image of it."""
        self.body()
        image, operation = uploads.finish(actor=self.actor, upload_id=id)
        return self.accepted(operation, image=image_data(self.actor, image))


def _offset(request: Request) -> int:
    text = request.headers.get(OFFSET, "")
    if not re.fullmatch(r"[0-9]{1,16}", text):
        raise Invalid("Say from which byte on, as a whole number.", field=OFFSET)
    return int(text)
