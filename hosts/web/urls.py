"""Addresses of the pages on hosts."""

from django.urls import path

from hosts.web import clusters, fencing, storage, targets, views

urlpatterns = [
    path("provider/storage/", storage.storage, name="storage"),
    path("provider/storage/add-pool/", storage.storage_pool_add, name="storage-pool-add"),
    path("provider/storage/classes/<slug:slug>/", storage.storage_class_change, name="storage-class"),
    path("provider/storage/pools/<uuid:pool_id>/remove/", storage.storage_pool_remove, name="storage-pool-remove"),
    path("provider/clusters/", clusters.cluster_list, name="cluster-list"),
    path("provider/refused-placements/", clusters.refusals, name="cluster-refusals"),
    path("provider/add-cluster/", clusters.cluster_add, name="cluster-add"),
    path("provider/clusters/<slug:slug>/", clusters.cluster_change, name="cluster-change"),
    path("provider/clusters/<slug:slug>/remove/", clusters.cluster_remove, name="cluster-remove"),
    path("provider/tenants/<slug:slug>/clusters/", clusters.tenant_clusters, name="provider-tenant-clusters"),
    path("provider/hosts/", views.host_list, name="host-list"),
    path("provider/add-host/", views.host_add, name="host-add"),
    path("provider/hosts/<slug:name>/", views.host_detail, name="host-detail"),
    path("provider/hosts/<slug:name>/fragment/", views.host_fragment, name="host-fragment"),
    path("provider/hosts/<slug:name>/metrics/", views.host_metrics, name="host-metrics"),
    path("provider/hosts/<slug:name>/access/", views.host_access, name="host-access"),
    path("provider/hosts/<slug:name>/check/", views.host_check, name="host-check"),
    path("provider/hosts/<slug:name>/state/", views.host_state, name="host-state"),
    path("provider/hosts/<slug:name>/fence-agent/", fencing.fence_agent, name="host-fence-agent"),
    path("provider/hosts/<slug:name>/fence-agent/remove/", fencing.fence_agent_remove, name="host-fence-agent-remove"),
    path("provider/hosts/<slug:name>/remove/", views.host_remove, name="host-remove"),
    path("provider/backup-targets/", targets.target_list, name="target-list"),
    path("provider/add-backup-target/", targets.target_add, name="target-add"),
    path("provider/backup-targets/<slug:slug>/check/", targets.target_check, name="target-check"),
    path("provider/backup-targets/<slug:slug>/change/", targets.target_change, name="target-change"),
    path("provider/backup-targets/<slug:slug>/remove/", targets.target_remove, name="target-remove"),
]
