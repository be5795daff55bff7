"""Clusters, and which of them a tenant may use."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hosts import selectors, spare
from hosts.api.serializers import Ratio
from hosts.models import Cluster, Convergence, Failover, Spread
from hosts.service_class import SHARING
from hosts.services import clusters as services
from portal.api.serializers import Choice, Input, Integer, Text
from portal.api.views import ApiView
from portal.core.errors import Invalid, NotFound
from portal.tenancy import selectors as tenancy
from portal.tenancy.roles import Permission


class ClassRatios(serializers.DictField):
    """By service class how many of its vCPUs a CPU may carry; the whole of it, each time."""

    def __init__(self, **kwargs: Any) -> None:
        words = f"vCPUs on one CPU, for {', '.join(SHARING)}; without one a class goes by its own floor."
        super().__init__(child=Ratio(allow_null=True), help_text=words, **kwargs)


class ClusterChange(Input):
    """What is left out stays as it is."""

    name = Text(max_length=100, required=False)
    cpu_model = Text(
        max_length=100,
        required=False,
        allow_blank=True,
        help_text="The processor that guests see, as libvirt names it; empty: what the accelerator has by itself.",
    )
    spread = Choice(Spread.values, required=False)
    class_ratios = ClassRatios(required=False)
    failure_reserve = Integer(required=False, help_text="How many hosts' worth is kept free for those that fail.")
    failover = Choice(Failover.values, required=False, help_text="What is done when a host seems to have failed.")
    failover_after = Integer(required=False, help_text="Seconds of silence before a host is suspected.")
    migration_mib_s = Integer(required=False, help_text="The most that one live migration sends; 0: no limit.")
    convergence = Choice(
        Convergence.values,
        required=False,
        help_text="For guests that write faster than that. After post-copy has begun there is no way back.",
    )
    network_cidr = Text(
        max_length=43, required=False, allow_blank=True, help_text="Of all its hosts; empty: that of the first one."
    )


class ClusterIn(ClusterChange):
    slug = Text(max_length=63)


class SpareOut(serializers.Serializer[Any]):
    """Context: `spare`, by id of cluster."""

    host = serializers.CharField(help_text="The worst one to lose, or so many as room is kept for; empty where none.")
    machines = serializers.IntegerField(help_text="On it, with disks that other hosts reach.")
    without_room = serializers.IntegerField(help_text="Of these, those for which the others have no room.")
    refused = serializers.IntegerField(help_text="Of these, those that none of the others takes for another reason.")
    reasons = serializers.ListField(
        child=serializers.CharField(), help_text="What none of the others does: has what its size asks for (gpu)."
    )
    local = serializers.IntegerField(help_text="On it, with disks that no other host reaches.")

    def to_representation(self, cluster: Any) -> dict[str, Any]:
        return dict(super().to_representation(self.context["spare"][cluster.pk]))


class ClusterOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    cpu_model = serializers.CharField()
    spread = serializers.ChoiceField(choices=Spread.values)
    class_ratios = serializers.DictField(child=serializers.FloatField(), help_text="vCPUs on one CPU, by class.")
    failure_reserve = serializers.IntegerField()
    failover = serializers.ChoiceField(choices=Failover.values)
    failover_after = serializers.IntegerField()
    spare = SpareOut(source="*", help_text="Whether what is on any of its hosts would start on the others now.")
    migration_mib_s = serializers.IntegerField()
    convergence = serializers.ChoiceField(choices=Convergence.values)
    network_cidr = serializers.CharField(help_text="Each address in it is given once.")
    hosts = serializers.SerializerMethodField(help_text="By name.")
    created_at = serializers.DateTimeField()

    def get_hosts(self, cluster: Cluster) -> list[str]:
        return [host.name for host in cluster.hosts.all()]


def cluster_data(cluster: Cluster) -> dict[str, Any]:
    return dict(ClusterOut(cluster, context={"spare": spare.of_each([cluster])}).data)


class TenantClustersIn(Input):
    clusters = serializers.ListField(
        child=Text(max_length=63), max_length=100, help_text="Slugs; an empty list: all clusters."
    )


class TenantClustersOut(serializers.Serializer[Any]):
    clusters = serializers.ListField(child=serializers.CharField())


class Clusters(ApiView):
    permissions = {"GET": Permission.HOST_READ, "POST": Permission.HOST_WRITE}

    @extend_schema(responses=ClusterOut(many=True))
    def get(self, request: Request) -> Response:
        """All clusters, with their hosts."""
        rows = selectors.clusters(self.actor)
        self.query()
        page = self.page(rows)
        return self.listed(ClusterOut(page, many=True, context={"spare": spare.of_each(page)}).data)

    @extend_schema(request=ClusterIn, responses={201: ClusterOut})
    def post(self, request: Request) -> Response:
        """A new cluster, to which hosts are added."""
        self.actor.require(Permission.HOST_WRITE)
        found = services.add_cluster(actor=self.actor, **self.body(ClusterIn))
        return self.created(cluster_data(found), f"/api/v1/clusters/{found.slug}")


class ClusterDetail(ApiView):
    permissions = {"GET": Permission.HOST_READ, "PATCH": Permission.HOST_WRITE, "DELETE": Permission.HOST_WRITE}

    @extend_schema(responses=ClusterOut)
    def get(self, request: Request, cluster: str) -> Response:
        """One cluster, by slug or id."""
        return Response(cluster_data(selectors.cluster(self.actor, cluster)))

    @extend_schema(request=ClusterChange, responses=ClusterOut)
    def patch(self, request: Request, cluster: str) -> Response:
        """Change its name or policy; machines that run stay where they are."""
        self.actor.require(Permission.HOST_WRITE)
        found = selectors.cluster(self.actor, cluster)
        changed = services.change_cluster(actor=self.actor, cluster=found, **self.body(ClusterChange))
        return Response(cluster_data(changed))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, cluster: str) -> Response:
        """Only one without hosts."""
        self.actor.require(Permission.HOST_WRITE)
        services.remove_cluster(actor=self.actor, cluster=selectors.cluster(self.actor, cluster))
        return Response(status=204)


class TenantClusters(ApiView):
    permissions = {"GET": Permission.HOST_READ, "PUT": Permission.HOST_WRITE}

    @extend_schema(responses=TenantClustersOut)
    def get(self, request: Request, tenant: str) -> Response:
        """Where the tenant's new machines may be placed; an empty list: everywhere."""
        self.actor.require(Permission.HOST_READ)
        return self._answer(tenant)

    @extend_schema(request=TenantClustersIn, responses=TenantClustersOut)
    def put(self, request: Request, tenant: str) -> Response:
        """Say where the tenant's new machines may be placed. What runs elsewhere stays."""
        self.actor.require(Permission.HOST_WRITE)
        found = tenancy.tenant(self.actor, tenant)
        wanted = [self._cluster(slug) for slug in self.body(TenantClustersIn)["clusters"]]
        services.allow_clusters(actor=self.actor, tenant=found, clusters=wanted)
        return self._answer(tenant)

    def _answer(self, tenant: str) -> Response:
        rows = selectors.clusters_of_tenant(self.actor, tenancy.tenant(self.actor, tenant))
        return Response({"clusters": [cluster.slug for cluster in rows]})

    def _cluster(self, slug: str) -> Cluster:
        try:
            return selectors.cluster(self.actor, slug)
        except NotFound as error:
            raise Invalid("There is no such cluster.", code="unknown_reference", field="clusters") from error
