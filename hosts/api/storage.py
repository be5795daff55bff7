"""Storage classes, and the pools of hosts."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors
from hosts.models import PoolKind, StorageClass, StoragePool
from hosts.services import classes, pools
from portal.api.operations import OperationOut
from portal.api.serializers import Boolean, Choice, Input, Integer, Text
from portal.api.views import ApiView
from portal.tenancy.roles import Permission


class _Limits(Input):
    read_iops = Integer(required=False, allow_null=True, help_text="Null is no limit.")
    write_iops = Integer(required=False, allow_null=True)
    read_mib_s = Integer(required=False, allow_null=True)
    write_mib_s = Integer(required=False, allow_null=True)


class StorageClassIn(_Limits):
    slug = Text(max_length=63)
    name = Text(max_length=100)
    description = Text(max_length=300, required=False, allow_blank=True)


class StorageClassChange(_Limits):
    """What is left out stays as it is. Limits stay while the class has pools."""

    name = Text(max_length=100, required=False)
    description = Text(max_length=300, required=False, allow_blank=True)
    active = Boolean(required=False, help_text="Whether it can be chosen; disks that have it keep it.")
    default = Boolean(required=False, help_text="true: the one that is chosen first.")


class StorageClassOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    read_iops = serializers.IntegerField(allow_null=True, help_text="Of each disk, in a second; null is no limit.")
    write_iops = serializers.IntegerField(allow_null=True)
    read_mib_s = serializers.IntegerField(allow_null=True)
    write_mib_s = serializers.IntegerField(allow_null=True)
    default = serializers.BooleanField(source="is_default")
    active = serializers.BooleanField(source="is_active")


class PoolIn(Input):
    name = Text(max_length=63, help_text="Of libvirt's pool: a DNS label.")
    storage_class = Text(max_length=63, help_text="Slug.")
    kind = Choice(PoolKind.values, required=False, default=PoolKind.DIR.value)
    path = Text(max_length=300, required=False, help_text="dir, netfs: the directory on the host.")
    source = Text(  # type: ignore[assignment]
        max_length=300, required=False, help_text="netfs: the export; logical: the volume group; rbd: the pool."
    )
    hosts = serializers.ListField(
        child=Text(max_length=300), max_length=9, required=False, help_text="netfs: the one server; rbd: the monitors."
    )
    user = Text(max_length=100, required=False, allow_blank=True, help_text="rbd: the Ceph user.")
    secret = Text(max_length=36, required=False, allow_blank=True, help_text="rbd: id of libvirt's secret on the host.")


class PoolOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    host = serializers.CharField(source="host.name")
    storage_class = serializers.CharField(source="storage_class.slug")
    kind = serializers.ChoiceField(choices=PoolKind.values)
    path = serializers.CharField()
    source = serializers.DictField()  # type: ignore[assignment]
    default = serializers.BooleanField(source="is_default")
    takes_disks = serializers.BooleanField(help_text="Disks are files: volume groups and Ceph pools take none yet.")
    capacity_bytes = serializers.IntegerField()
    available_bytes = serializers.IntegerField()
    checked_at = serializers.DateTimeField(allow_null=True, help_text="When the host was last seen to have it.")
    error = serializers.CharField(help_text="Why the host cannot have it; empty where it does.")


class PoolAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    pool = PoolOut()


class StorageClasses(ApiView):
    permissions = {"GET": Permission.FLAVOR_READ, "POST": Permission.HOST_WRITE}

    @extend_schema(responses=StorageClassOut(many=True))
    def get(self, request: Request) -> Response:
        """Kinds of storage to choose from, with what each disk is held to."""
        self.query()
        return self.listed(StorageClassOut(self.page(selectors.storage_classes(self.actor)), many=True).data)

    @extend_schema(request=StorageClassIn, responses={201: StorageClassOut})
    def post(self, request: Request) -> Response:
        """A new class. For administrators."""
        self.actor.require(Permission.HOST_WRITE)
        found = classes.create_class(actor=self.actor, **self.body(StorageClassIn))
        return self.created(StorageClassOut(found).data, f"/api/v1/storage-classes/{found.slug}")


class StorageClassDetail(ApiView):
    permissions = {"GET": Permission.FLAVOR_READ, "PATCH": Permission.HOST_WRITE}

    @extend_schema(responses=StorageClassOut)
    def get(self, request: Request, storage_class: str) -> Response:
        """One class, by slug or id."""
        return Response(StorageClassOut(selectors.storage_class(self.actor, storage_class)).data)

    @extend_schema(request=StorageClassChange, responses=StorageClassOut)
    def patch(self, request: Request, storage_class: str) -> Response:
        """Change it. For administrators."""
        self.actor.require(Permission.HOST_WRITE)
        found: StorageClass = selectors.storage_class(self.actor, storage_class)
        changed = classes.change_class(actor=self.actor, storage_class=found, **self.body(StorageClassChange))
        return Response(StorageClassOut(changed).data)


class HostPools(ApiView):
    permissions = {"GET": Permission.HOST_READ, "POST": Permission.HOST_WRITE}

    @extend_schema(responses=PoolOut(many=True))
    def get(self, request: Request, host: str) -> Response:
        """The pools of a host that Berth uses, the default one first."""
        found = selectors.host(self.actor, host)
        self.query()
        return self.listed(PoolOut(self.page(selectors.pools(self.actor, found)), many=True).data)

    @extend_schema(request=PoolIn, responses={202: PoolAcceptedOut})
    def post(self, request: Request, host: str) -> Response:
        """Register a pool: it is defined on the host, and its size read."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.host(self.actor, host)
        body = self.body(PoolIn)
        wanted = pools.RegisterPool(**{**body, "hosts": tuple(body.get("hosts", ()))})
        pool, operation = pools.register_pool(actor=self.actor, host=found, request=wanted)
        return self.accepted(operation, pool=PoolOut(pool).data)


class HostPoolDetail(ApiView):
    permissions = {"GET": Permission.HOST_READ, "DELETE": Permission.HOST_WRITE}

    @extend_schema(responses=PoolOut)
    def get(self, request: Request, host: str, pool: str) -> Response:
        """One pool, by name or id."""
        return Response(PoolOut(self._pool(host, pool)).data)

    @extend_schema(responses={202: PoolAcceptedOut})
    def delete(self, request: Request, host: str, pool: str) -> Response:
        """Let the host forget it, where no disk lies in it. Its files stay."""
        self.actor.require(Permission.HOST_WRITE)
        found = self._pool(host, pool)
        operation = pools.remove_pool(actor=self.actor, pool=found)
        return self.accepted(operation, pool=PoolOut(found).data)

    def _pool(self, host: str, pool: str) -> StoragePool:
        return selectors.pool(self.actor, selectors.host(self.actor, host), pool)
