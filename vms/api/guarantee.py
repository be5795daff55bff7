"""What is promised of sizes and machines, and what was measured."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors as hosts
from hosts.api.metrics import MetricsFilter, MetricsOut
from hosts.service_class import ServiceClass
from portal.api.views import ApiView
from portal.tenancy.roles import Permission
from vms import guarantee, promise_words, selectors
from vms.guarantee import Guarantee, Waiting
from vms.models.catalogue import Priority
from vms.promise_kept import Kept
from vms.services.look import look_at


class OverCommitOut(serializers.Serializer[Any]):
    """vCPUs for each CPU of a cluster."""

    cluster = serializers.CharField()
    hosts = serializers.IntegerField(help_text="That run machines.")
    given = serializers.FloatField(help_text="Now.")
    most = serializers.FloatField(help_text="By policy, of all classes together.")
    class_ratios = serializers.DictField(
        child=serializers.FloatField(), help_text="By policy, of each class that has a ratio of its own."
    )
    promised_percent = serializers.IntegerField(help_text="How much of the CPUs floors and dedicated machines take.")


class HourOut(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    kept = serializers.ChoiceField(choices=[str(each) for each in Kept])
    waited_percent = serializers.FloatField()


class WaitingOut(serializers.Serializer[Any]):
    """Of the time that the machine wanted to run, how much it waited for a CPU."""

    kept = serializers.ChoiceField(choices=[str(each) for each in Kept], help_text="In the last five minutes.")
    waited_percent = serializers.FloatField(help_text="In the last five minutes.")
    words = serializers.SerializerMethodField()
    hours = HourOut(many=True, help_text="Of the last day, oldest first; those in which anything was measured.")

    def get_words(self, waiting: Waiting) -> str:
        return promise_words.waited(waiting.kept, waiting.waited_percent)


class BackupsOut(serializers.Serializer[Any]):
    schedules = serializers.ListField(child=serializers.CharField(), help_text="Those that are on, in words.")
    newest = serializers.DateTimeField(allow_null=True, help_text="When the newest complete one was taken.")


class GuaranteeOut(serializers.Serializer[Any]):
    """CPU in percent of one CPU for each vCPU."""

    service_class = serializers.ChoiceField(choices=[str(each) for each in ServiceClass])
    cpu_floor = serializers.IntegerField(allow_null=True, help_text="Null where none is promised.")
    cpu_ceiling = serializers.IntegerField()
    words = serializers.SerializerMethodField(help_text="Floor, ceiling and memory, for people.")
    over_commit = OverCommitOut(many=True, help_text="Of the clusters that it may be in, or of the one that it is in.")
    on_host_failure = serializers.CharField()
    recovery_priority = serializers.ChoiceField(choices=Priority.values, help_text="Its turn, when its host fails.")
    backups = BackupsOut(allow_null=True, help_text="Null for a size.")
    waiting = WaitingOut(allow_null=True, help_text="Null for a size.")

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_words(self, found: Guarantee) -> dict[str, str]:
        return {"floor": found.words.floor, "ceiling": found.words.ceiling, "memory": found.words.memory}


class FlavorGuarantee(ApiView):
    permissions = {"GET": Permission.FLAVOR_READ}

    @extend_schema(responses=GuaranteeOut)
    def get(self, request: Request, flavor: str) -> Response:
        """What a size promises, and how far the clusters that your machines may be in are over-committed."""
        found = selectors.any_flavor(self.actor, flavor)
        tenants = () if self.actor.is_provider else self.actor.memberships
        (card,) = guarantee.of_flavors([found], hosts.open_to(tenants))
        return Response(GuaranteeOut(card).data)


class VMGuarantee(ApiView):
    permissions = {"GET": Permission.VM_READ}

    @extend_schema(responses=GuaranteeOut)
    def get(self, request: Request, id: UUID) -> Response:
        """What a machine is promised, and whether that was kept."""
        return Response(GuaranteeOut(guarantee.of_vm(look_at(self.actor, id))).data)


class VMMetrics(ApiView):
    permissions = {"GET": Permission.VM_READ}

    @extend_schema(parameters=[MetricsFilter], responses=MetricsOut)
    def get(self, request: Request, id: UUID) -> Response:
        """What a machine used: each minute of the last hour or day, each quarter of an hour of a month."""
        vm, span = look_at(self.actor, id), self.query(MetricsFilter)["span"]
        return Response(MetricsOut(selectors.used_by(vm, span)).data)
