"""Backup targets: to choose from for everybody, to look after for the provider's staff."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors
from hosts.models import BackupTarget
from hosts.services import targets as services
from portal.api.operations import OperationOut
from portal.api.serializers import Boolean, Input, Text
from portal.api.views import ApiView
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission


class BackupTargetIn(Input):
    slug = Text(max_length=40, help_text="Its name in the API: lower-case letters, digits and hyphens.")
    name = Text(max_length=100, required=False)
    path = Text(max_length=300, help_text="An absolute path of a directory, the same on every host.")


class BackupTargetChange(Input):
    """What is left out stays as it is."""

    name = Text(max_length=100, required=False)
    active = Boolean(required=False, help_text="Whether it takes new backups.")
    default = Boolean(required=False, help_text="True: another one is it no longer.")


class ReachOut(serializers.Serializer[Any]):
    host = serializers.CharField(source="host.name")
    reached = serializers.BooleanField(source="is_reached")
    problem = serializers.CharField(help_text="Why it is not reached; empty where it is.")
    capacity_bytes = serializers.IntegerField()
    available_bytes = serializers.IntegerField()
    checked_at = serializers.DateTimeField()


class BackupTargetOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    default = serializers.BooleanField(source="is_default", help_text="Where backups go that name no target.")
    active = serializers.BooleanField(source="is_active", help_text="Whether it takes new backups.")
    reached = serializers.SerializerMethodField(
        help_text="Whether every host that was asked reaches it; backups of machines on others would wait."
    )
    path = serializers.CharField(required=False, help_text="Told to the provider's staff alone.")
    hosts = ReachOut(
        many=True,
        required=False,
        source="reaches",
        help_text="What each host's last check found; told to the provider's staff alone.",
    )
    created_at = serializers.DateTimeField()

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if "actor" in self.context and not self.context["actor"].can(Permission.HOST_READ):
            del fields["path"], fields["hosts"]
        return fields

    def get_reached(self, target: BackupTarget) -> bool:
        found = [reach.is_reached for reach in target.reaches.all()]
        return bool(found) and all(found)


class BackupTargetAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    target = BackupTargetOut()


def target_data(actor: Actor, target: BackupTarget) -> dict[str, Any]:
    return dict(BackupTargetOut(target, context={"actor": actor}).data)


class Targets(ApiView):
    permissions = {"GET": Permission.FLAVOR_READ, "POST": Permission.HOST_WRITE}

    @extend_schema(responses=BackupTargetOut(many=True))
    def get(self, request: Request) -> Response:
        """Where backups may go, the default first; for the provider's staff all, with what each host sees of them."""
        rows = selectors.targets(self.actor)
        self.query()
        context = {"actor": self.actor}
        return self.listed(BackupTargetOut(self.page(rows), many=True, context=context).data)

    @extend_schema(request=BackupTargetIn, responses={202: BackupTargetAcceptedOut})
    def post(self, request: Request) -> Response:
        """Register a directory; the check finds out which hosts reach it."""
        self.actor.require(Permission.HOST_WRITE)
        target, operation = services.add_target(actor=self.actor, **self.body(BackupTargetIn))
        return self.accepted(operation, target=target_data(self.actor, target))


class TargetDetail(ApiView):
    permissions = {"GET": Permission.FLAVOR_READ, "PATCH": Permission.HOST_WRITE, "DELETE": Permission.HOST_WRITE}

    @extend_schema(responses=BackupTargetOut)
    def get(self, request: Request, target: str) -> Response:
        """One backup target, by slug or id."""
        return Response(target_data(self.actor, selectors.target(self.actor, target)))

    @extend_schema(request=BackupTargetChange, responses=BackupTargetOut)
    @transaction.atomic
    def patch(self, request: Request, target: str) -> Response:
        """Rename it, let it take no new backups, or make it the default."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.target(self.actor, target)
        names = {"name": "name", "active": "is_active", "default": "is_default"}
        wanted = {names[name]: value for name, value in self.body(BackupTargetChange).items()}
        return Response(target_data(self.actor, services.change(actor=self.actor, target=found, **wanted)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, target: str) -> Response:
        """Forget it, while no backup is there. The directory stays as it is."""
        self.actor.require(Permission.HOST_WRITE)
        services.forget(actor=self.actor, target=selectors.target(self.actor, target))
        return Response(status=204)


class TargetCheck(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    @extend_schema(request=None, responses={202: BackupTargetAcceptedOut})
    def post(self, request: Request, target: str) -> Response:
        """Look from each host whether it reaches the directory, and how much room there is."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.target(self.actor, target)
        self.body()
        return self.accepted(services.check(actor=self.actor, target=found), target=target_data(self.actor, found))
