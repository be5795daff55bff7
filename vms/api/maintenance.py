"""Emptying hosts, one or each of a cluster in turn: the plan, and what begins it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors as hosts
from hosts.api.clusters import ClusterOut, cluster_data
from hosts.api.serializers import HostAcceptedOut
from hosts.api.views import host_data
from portal.api.operations import OperationOut
from portal.api.serializers import Input, Integer
from portal.api.views import ApiView
from portal.tenancy.roles import Permission
from vms.maintenance import reading
from vms.maintenance.drain import MOST_AT_ONCE, drain_host
from vms.maintenance.plan import Move, Plan, Way
from vms.maintenance.roll import roll_cluster


class DrainIn(Input):
    concurrency = Integer(
        required=False, help_text=f"How many machines are on their way at once, 1 to {MOST_AT_ONCE}; left out: 2."
    )


class MoveOut(serializers.Serializer[Any]):
    vm = serializers.UUIDField(source="vm.pk")
    name = serializers.CharField(source="vm.name")
    tenant = serializers.CharField(source="vm.tenant.slug")
    way = serializers.ChoiceField(choices=[str(way) for way in Way])
    host = serializers.SerializerMethodField(help_text="Where it would go; null where it stays.")
    copied_gib = serializers.IntegerField(help_text="The size of the disks whose data would go along.")
    obstacles = serializers.ListField(child=serializers.CharField(), help_text="Why it stays, host by host.")
    help = serializers.CharField(help_text="What would let it go; empty where the obstacles say that themselves.")
    waits_for = serializers.CharField(source="waits", help_text="What is under way on it and has to end first.")

    def get_host(self, move: Move) -> str | None:
        return move.target.host.name if move.target else None


class DrainPlanOut(serializers.Serializer[Any]):
    host = serializers.CharField(source="host.name")
    state = serializers.CharField(source="host.state")
    possible = serializers.BooleanField(source="is_possible", help_text="Every machine has a place to go.")
    copied_gib = serializers.IntegerField()
    loose_volumes = serializers.IntegerField(help_text="Of no machine, where no other host sees them: they stay.")
    moves = MoveOut(many=True, help_text="In the order in which they go.")


class RollPlanOut(serializers.Serializer[Any]):
    possible = serializers.SerializerMethodField(help_text="Each host can be emptied onto the others.")
    hosts = DrainPlanOut(source="*", many=True)

    def get_possible(self, plans: list[Plan]) -> bool:
        return all(plan.is_possible for plan in plans)


class RollAcceptedOut(serializers.Serializer[Any]):
    """Accepted: follow `operation`, whose address is in the Location header."""

    operation = OperationOut()
    cluster = ClusterOut()


class HostDrainPlan(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(responses=DrainPlanOut)
    def get(self, request: Request, host: str) -> Response:
        """What a drain would do now: each machine in its turn, how it goes and where to, or why it stays."""
        return Response(DrainPlanOut(reading.plan_of(self.actor, hosts.host(self.actor, host))).data)


class HostDrain(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    @extend_schema(request=DrainIn, responses={202: HostAcceptedOut})
    def post(self, request: Request, host: str) -> Response:
        """Move all its machines to other hosts; then it is in maintenance. Until then it takes no new ones."""
        self.actor.require(Permission.HOST_WRITE)
        found = hosts.host(self.actor, host)
        operation = drain_host(actor=self.actor, host=found, **self.body(DrainIn))
        return self.accepted(operation, host=host_data(found))


class ClusterRollPlan(ApiView):
    permissions = {"GET": Permission.HOST_READ}

    @extend_schema(responses=RollPlanOut)
    def get(self, request: Request, cluster: str) -> Response:
        """Whether each host could be emptied onto the others as they are now."""
        found = hosts.cluster(self.actor, cluster)
        return Response(RollPlanOut(reading.rolling_plan(self.actor, found)).data)


class ClusterRoll(ApiView):
    permissions = {"POST": Permission.HOST_WRITE}

    @extend_schema(request=DrainIn, responses={202: RollAcceptedOut})
    def post(self, request: Request, cluster: str) -> Response:
        """Drain one host after the other; after each it waits until that one is uncordoned."""
        self.actor.require(Permission.HOST_WRITE)
        found = hosts.cluster(self.actor, cluster)
        operation = roll_cluster(actor=self.actor, cluster=found, **self.body(DrainIn))
        return self.accepted(operation, cluster=cluster_data(found))
