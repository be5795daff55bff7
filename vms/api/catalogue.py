"""What machines are made of: images, flavors, networks."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.references import tenant_in
from portal.api.serializers import Boolean, Input, Integer, Text
from portal.api.views import ApiView
from portal.core.errors import NotFound
from portal.tenancy.roles import Permission
from vms import selectors
from vms.services import catalogue


class ActiveIn(Input):
    active = Boolean(help_text="Whether it can be chosen for new machines; those that have it keep it.")


class ImageFilter(Input):
    tenant = Text(required=False, help_text="Slug or id: the public ones and this tenant's own.")


class ImageOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    tenant = serializers.CharField(source="tenant.slug", allow_null=True, help_text="Slug; null is public.")
    os = serializers.CharField()
    default_user = serializers.CharField(help_text="Whom to log in as.")
    cloud_init = serializers.BooleanField(
        source="has_cloud_init",
        help_text="Whether it reads the NoCloud seed at its first boot: host name, keys, script.",
    )
    min_disk_gib = serializers.IntegerField()
    min_memory_mib = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    virtual_size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    active = serializers.BooleanField(source="is_active")
    created_at = serializers.DateTimeField()


class Images(ApiView):
    permissions = {"GET": Permission.IMAGE_READ}

    @extend_schema(parameters=[ImageFilter], responses=ImageOut(many=True))
    def get(self, request: Request) -> Response:
        """Images to choose from: public ones and your tenants' own."""
        tenant = tenant_in(self.actor, self.query(ImageFilter).get("tenant"), Permission.IMAGE_READ)
        page = self.page(selectors.images(self.actor, tenant).select_related("tenant"))
        return self.listed(ImageOut(page, many=True).data)


class ImageDetail(ApiView):
    permissions = {"GET": Permission.IMAGE_READ, "PATCH": Permission.IMAGE_WRITE}

    @extend_schema(responses=ImageOut)
    def get(self, request: Request, image: str) -> Response:
        """One image, by slug or id."""
        return Response(ImageOut(selectors.any_image(self.actor, image)).data)

    @extend_schema(request=ActiveIn, responses=ImageOut)
    def patch(self, request: Request, image: str) -> Response:
        """Offer it or take it out of the catalogue. For administrators."""
        found = selectors.any_image(self.actor, image, Permission.IMAGE_WRITE)
        return Response(ImageOut(catalogue.set_image_active(actor=self.actor, image=found, **self.body(ActiveIn))).data)


class FlavorIn(Input):
    slug = Text(max_length=63)
    name = Text(max_length=100)
    vcpus = Integer()
    memory_mib = Integer()
    disk_gib = Integer()


class FlavorOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()
    active = serializers.BooleanField(source="is_active")


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
        flavor = catalogue.create_flavor(actor=self.actor, **self.body(FlavorIn))
        return self.created(FlavorOut(flavor).data, f"/api/v1/flavors/{flavor.slug}")


class FlavorDetail(ApiView):
    permissions = {"GET": Permission.FLAVOR_READ, "PATCH": Permission.FLAVOR_WRITE}

    @extend_schema(responses=FlavorOut)
    def get(self, request: Request, flavor: str) -> Response:
        """One size, by slug or id."""
        return Response(FlavorOut(selectors.any_flavor(self.actor, flavor)).data)

    @extend_schema(request=ActiveIn, responses=FlavorOut)
    def patch(self, request: Request, flavor: str) -> Response:
        """Offer it or retire it. For administrators."""
        found = selectors.any_flavor(self.actor, flavor, Permission.FLAVOR_WRITE)
        body = self.body(ActiveIn)
        return Response(FlavorOut(catalogue.set_flavor_active(actor=self.actor, flavor=found, **body)).data)


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
