"""What machines are made of: images, flavors, networks."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts.api.serializers import Labels
from hosts.service_class import ServiceClass
from portal.api.operations import OperationBrief, OperationOut
from portal.api.references import tenant_in
from portal.api.serializers import Boolean, Choice, Id, Input, Integer, Text
from portal.api.views import ApiView
from portal.core.errors import NotFound
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import image_selectors, selectors
from vms.api.intake import ImageFileIn, ImageIntake, ImageUrlIn
from vms.api.serializers import VerdictOut
from vms.image_states import ImageAction
from vms.models import Image, ImageFirmware, ImageFormat, ImageState, Visibility
from vms.models.catalogue import Priority
from vms.services import catalogue, images
from vms.services.copies import evict_copy


class ImageFilter(Input):
    tenant = Text(required=False, help_text="Slug or id: the public ones and this tenant's own.")


class ImageChange(Input):
    """What is left out stays as it is."""

    name = Text(max_length=100, required=False)
    description = Text(max_length=300, required=False, allow_blank=True)
    os = Text(max_length=60, required=False, allow_blank=True)
    default_user = Text(max_length=32, required=False, allow_blank=True, help_text="Whom to log in as.")
    cloud_init = Boolean(required=False, help_text="Whether it reads the NoCloud seed at its first boot.")
    firmware = Choice(ImageFirmware.values, required=False, help_text="What new machines start with.")
    min_disk_gib = Integer(required=False)
    min_memory_mib = Integer(required=False)
    active = Boolean(required=False, help_text="false deprecates it: nothing new is made of it, what exists stays.")
    deprecation = Text(max_length=200, required=False, allow_blank=True, help_text="What to take instead, in words.")
    public = Boolean(required=False, help_text="Whether everybody sees it. For administrators.")
    shared_with = serializers.ListField(
        child=Text(max_length=63),
        max_length=images.MOST_SHARES,
        required=False,
        help_text="The tenants, by slug or id, that may use it; none keeps it private. For owners.",
    )


class ImageActionsOut(serializers.Serializer[Any]):
    """What you may do with it now, and why not."""

    def get_fields(self) -> dict[str, Any]:
        return {str(action): VerdictOut() for action in ImageAction}


class ImageOut(serializers.Serializer[Any]):
    """An image: what disks of new machines begin as."""

    # Context: `actor`; `operations` and `uses` by id of image.
    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug", allow_null=True, help_text="Slug; null is the provider.")
    visibility = serializers.ChoiceField(choices=Visibility.values)
    state = serializers.ChoiceField(choices=ImageState.values, help_text="A pending one is still being imported.")
    format = serializers.ChoiceField(
        source="source_format",
        choices=ImageFormat.values,
        help_text="What it was brought as; it is kept as qcow2. Machines boot an ISO from a CD, beside an empty disk.",
    )
    os = serializers.CharField()
    firmware = serializers.ChoiceField(choices=ImageFirmware.values)
    default_user = serializers.CharField(help_text="Whom to log in as.")
    cloud_init = serializers.BooleanField(
        source="has_cloud_init",
        help_text="Whether it reads the NoCloud seed at its first boot: host name, keys, script.",
    )
    min_disk_gib = serializers.IntegerField(source="least_disk_gib")
    min_memory_mib = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    virtual_size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField(help_text="Of the file as it is kept.")
    active = serializers.BooleanField(source="is_active", help_text="false: deprecated.")
    deprecation = serializers.CharField(help_text="What to take instead.")
    uses = serializers.SerializerMethodField(help_text="How many machines were made of it; others' are counted too.")
    actions = serializers.SerializerMethodField()
    operation = serializers.SerializerMethodField(help_text="What is under way, or null.")
    created_by = serializers.SerializerMethodField(help_text="For its tenant and the provider's staff, else empty.")
    created_at = serializers.DateTimeField()

    def get_uses(self, image: Image) -> int:
        return int(self.context["uses"].get(image.pk, 0))

    @extend_schema_field(ImageActionsOut)
    def get_actions(self, image: Image) -> dict[str, dict[str, Any]]:
        used_by = image_selectors.used_by_words(self.get_uses(image))
        found = image_selectors.actions(self.context["actor"], image, self._operation(image), used_by)
        return {str(name): {"allowed": verdict.allowed, "reason": verdict.reason} for name, verdict in found.items()}

    @extend_schema_field(OperationBrief(allow_null=True))
    def get_operation(self, image: Image) -> dict[str, Any] | None:
        operation = self._operation(image)
        can_see = operation and self.context["actor"].can(Permission.OPERATION_READ, image.tenant_id)
        return dict(OperationBrief(operation).data) if can_see else None

    def get_created_by(self, image: Image) -> str:
        return image.created_by if image_selectors.is_insider(self.context["actor"], image) else ""

    def _operation(self, image: Image) -> Operation | None:
        found: Operation | None = self.context["operations"].get(image.pk)
        return found


class UserOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug")


class CopyOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    host = serializers.CharField(source="pool.host.name")
    pool = serializers.CharField(source="pool.name")
    size_bytes = serializers.IntegerField()
    used_at = serializers.DateTimeField()
    verified_at = serializers.DateTimeField(allow_null=True, help_text="When its checksum was found there.")


class ImageDetailOut(ImageOut):
    """An image, with who uses it."""

    # Context beside that of a list: `users`, `copies`.
    shared_with = serializers.SerializerMethodField(help_text="For its tenant and the provider's staff, else empty.")
    users = serializers.SerializerMethodField(help_text="Some of the machines made of it: those that you may see.")
    copies = serializers.SerializerMethodField(help_text="Where its file lies; for the provider's staff, else empty.")

    def get_shared_with(self, image: Image) -> list[str]:
        if not image_selectors.is_insider(self.context["actor"], image):
            return []
        return [share.tenant.slug for share in image.shares.select_related("tenant")]

    @extend_schema_field(UserOut(many=True))
    def get_users(self, image: Image) -> list[Any]:
        return list(UserOut(self.context["users"].named, many=True).data)

    @extend_schema_field(CopyOut(many=True))
    def get_copies(self, image: Image) -> list[Any]:
        return list(CopyOut(self.context["copies"], many=True).data)


class ImageAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    image = ImageDetailOut()


class EvictIn(Input):
    copy = Id(help_text="One of `copies`.")


class CopyAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()


def image_data(actor: Actor, image: Image) -> dict[str, Any]:
    """An image as it is now, in full."""
    users = image_selectors.users(actor, image)
    context = {
        "actor": actor,
        "operations": active_on_each([image.pk]),
        "uses": {image.pk: users.visible + users.others},
        "users": users,
        "copies": image_selectors.copies(actor, image) if actor.can(Permission.HOST_READ) else [],
    }
    return dict(ImageDetailOut(image, context=context).data)


class Images(ImageIntake):
    permissions = {"GET": Permission.IMAGE_READ, "POST": Permission.IMAGE_WRITE}

    @extend_schema(parameters=[ImageFilter], responses=ImageOut(many=True))
    def get(self, request: Request) -> Response:
        """Your tenants' images, and what others let you make machines of."""
        tenant = tenant_in(self.actor, self.query(ImageFilter).get("tenant"), Permission.IMAGE_READ)
        page = self.page(selectors.images(self.actor, tenant).select_related("tenant"))
        context = {
            "actor": self.actor,
            "operations": active_on_each(image.pk for image in page),
            "uses": image_selectors.use_counts(page),
        }
        return self.listed(ImageOut(page, many=True, context=context).data)

    @extend_schema(
        request={"application/json": ImageUrlIn, "multipart/form-data": ImageFileIn}, responses={202: ImageAcceptedOut}
    )
    def post(self, request: Request) -> Response:
        """Bring an image: fetch it from a URL, or send its file as the last field of a form."""
        image, operation = self.imported()
        return self.accepted(operation, image=image_data(self.actor, image))


class ImageDetail(ApiView):
    permissions = {"GET": Permission.IMAGE_READ, "PATCH": Permission.IMAGE_WRITE, "DELETE": Permission.IMAGE_WRITE}

    @extend_schema(responses=ImageDetailOut)
    def get(self, request: Request, image: str) -> Response:
        """One image, by slug or id."""
        return Response(image_data(self.actor, selectors.any_image(self.actor, image)))

    @extend_schema(request=ImageChange, responses=ImageDetailOut)
    @transaction.atomic
    def patch(self, request: Request, image: str) -> Response:
        """Change its properties, deprecate it or offer it again, and say who sees it."""
        found = selectors.any_image(self.actor, image, Permission.IMAGE_WRITE)
        _change(self.actor, found, self.body(ImageChange))
        return Response(image_data(self.actor, found))

    @extend_schema(request=None, responses={202: ImageAcceptedOut})
    def delete(self, request: Request, image: str) -> Response:
        """Delete it for good. Refused while machines stand on it, with those of them that you may see."""
        found = selectors.any_image(self.actor, image, Permission.IMAGE_WRITE)
        operation = images.delete_image(actor=self.actor, image=found)
        return self.accepted(operation, image=image_data(self.actor, found))


def _change(actor: Actor, image: Image, wanted: dict[str, Any]) -> None:
    if "public" in wanted:
        images.publish_image(actor=actor, image=image, public=wanted.pop("public"))
    if "shared_with" in wanted:
        images.share_image(actor=actor, image=image, tenants=wanted.pop("shared_with"))
    if wanted.keys() & {"active", "deprecation"}:
        active, words = wanted.pop("active", image.is_active), wanted.pop("deprecation", image.deprecation)
        images.set_image_active(actor=actor, image=image, active=active, deprecation=words)
    if "cloud_init" in wanted:
        wanted["has_cloud_init"] = wanted.pop("cloud_init")
    if wanted:
        images.change_image(actor=actor, image=image, properties=wanted)


class ImageEvict(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    @extend_schema(request=EvictIn, responses={202: CopyAcceptedOut})
    def post(self, request: Request, image: str) -> Response:
        """Remove its file from the pool of a host, where nothing stands on it. For administrators."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.any_image(self.actor, image)
        copy = image_selectors.copies(self.actor, found).filter(pk=self.body(EvictIn)["copy"]).first()
        if copy is None:
            raise selectors.unknown("copy", field="copy")
        return self.accepted(evict_copy(actor=self.actor, copy=copy))


class ClassIn(Input):
    """What is promised of a size."""

    service_class = Choice([str(each) for each in ServiceClass], required=False, help_text="burstable if left out.")
    cpu_floor = Integer(
        required=False,
        allow_null=True,
        help_text="Percent of a CPU for each vCPU, whatever others do; null: by the class and the over-commit ratio.",
    )
    cpu_ceiling = Integer(
        required=False, allow_null=True, help_text="Percent of a CPU for each vCPU at most; null: all of it."
    )
    host_labels = Labels(required=False, help_text="Words that the hosts of its machines must have.")
    has_huge_pages = Boolean(required=False, help_text="Whether its memory lies in huge pages that hosts set aside.")
    recovery_priority = Choice(
        Priority.values, required=False, help_text="Whose turn it is when machines of a failed host start elsewhere."
    )


class FlavorIn(ClassIn):
    slug = Text(max_length=63)
    name = Text(max_length=100)
    vcpus = Integer()
    memory_mib = Integer()
    disk_gib = Integer()


class FlavorChange(ClassIn):
    """What is left out stays as it is."""

    active = Boolean(required=False, help_text="Whether it can be chosen for new machines; those that have it keep it.")


class FlavorOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()
    active = serializers.BooleanField(source="is_active")
    service_class = serializers.ChoiceField(choices=[str(each) for each in ServiceClass])
    cpu_floor = serializers.IntegerField(
        allow_null=True, help_text="Percent of a CPU for each vCPU; null: by the class and the over-commit ratio."
    )
    cpu_ceiling = serializers.IntegerField(
        allow_null=True, help_text="Percent of a CPU for each vCPU; null: all of it."
    )
    has_huge_pages = serializers.BooleanField()
    recovery_priority = serializers.ChoiceField(choices=Priority.values)
    host_labels = serializers.ListField(child=serializers.CharField(), help_text="What it asks of its machines' hosts.")


def _class_in(body: dict[str, Any], now: catalogue.Class) -> catalogue.Class:
    """Takes what is said of the class out of the body."""
    names = [field.name for field in fields(catalogue.Class)]
    return replace(now, **{name: body.pop(name) for name in names if name in body})


class Flavors(ApiView):
    permissions = {"GET": Permission.FLAVOR_READ, "POST": Permission.FLAVOR_WRITE}

    @extend_schema(responses=FlavorOut(many=True))
    def get(self, request: Request) -> Response:
        """Sizes to choose from, smallest first."""
        self.query()
        return self.listed(FlavorOut(self.page(selectors.flavors()), many=True).data)

    @extend_schema(request=FlavorIn, responses={201: FlavorOut})
    def post(self, request: Request) -> Response:
        """A new size. For administrators."""
        self.actor.require(Permission.FLAVOR_WRITE)
        body = self.body(FlavorIn)
        promised = _class_in(body, catalogue.Class())
        flavor = catalogue.create_flavor(actor=self.actor, promised=promised, **body)
        return self.created(FlavorOut(flavor).data, f"/api/v1/flavors/{flavor.slug}")


class FlavorDetail(ApiView):
    permissions = {"GET": Permission.FLAVOR_READ, "PATCH": Permission.FLAVOR_WRITE}

    @extend_schema(responses=FlavorOut)
    def get(self, request: Request, flavor: str) -> Response:
        """One size, by slug or id."""
        return Response(FlavorOut(selectors.any_flavor(self.actor, flavor)).data)

    @extend_schema(request=FlavorChange, responses=FlavorOut)
    @transaction.atomic
    def patch(self, request: Request, flavor: str) -> Response:
        """Offer it or retire it, and change what is promised of it. For administrators.

        Machines keep what they were promised until they are resized, to this size as well.
        """
        found = selectors.any_flavor(self.actor, flavor, Permission.FLAVOR_WRITE)
        body = self.body(FlavorChange)
        if "active" in body:
            catalogue.set_flavor_active(actor=self.actor, flavor=found, active=body.pop("active"))
        if body:
            promised = _class_in(body, catalogue.class_of(found))
            catalogue.promise_flavor(actor=self.actor, flavor=found, promised=promised)
        return Response(FlavorOut(found).data)


class NetworkOut(serializers.Serializer[Any]):
    slug = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=["nat"])
    description = serializers.CharField()


DEFAULT_NETWORK = {
    "slug": "default",
    "name": "Default",
    "kind": "nat",
    "description": "Each machine gets an IPv4 address from its host and reaches the outside through it.",
}


class Networks(ApiView):
    permissions = {"GET": Permission.NETWORK_READ}

    @extend_schema(responses=NetworkOut(many=True))
    def get(self, request: Request) -> Response:
        """The networks that machines can be put on: one, which each host has."""
        self.query()
        return Response({"results": [DEFAULT_NETWORK], "next": None})


class NetworkDetail(ApiView):
    permissions = {"GET": Permission.NETWORK_READ}

    @extend_schema(responses=NetworkOut)
    def get(self, request: Request, network: str) -> Response:
        """One network, by slug."""
        if network != DEFAULT_NETWORK["slug"]:
            raise NotFound("There is no such network.")
        return Response(DEFAULT_NETWORK)
