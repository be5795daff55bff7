"""Addresses of the API that belong to hosts."""

from django.urls import path

from hosts.api import clusters, fencing, metrics, placement, storage, targets, views
from hosts.models import HostState

urlpatterns = [
    path("clusters", clusters.Clusters.as_view()),
    path("clusters/<slug:cluster>", clusters.ClusterDetail.as_view()),
    path("tenants/<slug:tenant>/clusters", clusters.TenantClusters.as_view()),
    path("refused-placements", placement.RefusedPlacements.as_view()),
    path("hosts", views.Hosts.as_view()),
    path("hosts/<slug:host>", views.HostDetail.as_view()),
    path("hosts/<slug:host>/access", views.HostAccess.as_view()),
    path("hosts/<slug:host>/actions/cordon", views.HostStateChange.as_view(state=HostState.CORDONED)),
    path("hosts/<slug:host>/actions/uncordon", views.HostStateChange.as_view(state=HostState.ENABLED)),
    path("hosts/<slug:host>/actions/check", views.HostCheck.as_view()),
    path("hosts/<slug:host>/fence-agent", fencing.HostFenceAgent.as_view()),
    path("hosts/<slug:host>/metrics", metrics.HostMetrics.as_view()),
    path("hosts/<slug:host>/pools", storage.HostPools.as_view()),
    path("hosts/<slug:host>/pools/<slug:pool>", storage.HostPoolDetail.as_view()),
    path("storage-classes", storage.StorageClasses.as_view()),
    path("storage-classes/<slug:storage_class>", storage.StorageClassDetail.as_view()),
    path("backup-targets", targets.Targets.as_view()),
    path("backup-targets/<slug:target>", targets.TargetDetail.as_view()),
    path("backup-targets/<slug:target>/actions/check", targets.TargetCheck.as_view()),
]
