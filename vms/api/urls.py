"""Addresses of the API that belong to machines and what they are made of."""

from django.urls import path

from vms.api import backups, catalogue, drift, groups, guarantee, schedules, snapshots, tenants, uploads, views, volumes
from vms.resolutions import Resolution
from vms.services import power

urlpatterns = [
    path("vms", views.VMs.as_view()),
    path("vms/bulk", views.VMBulk.as_view()),
    path("vms/<uuid:id>", views.VMDetail.as_view()),
    *(path(f"vms/<uuid:id>/actions/{action}", views.VMPower.as_view(action=action)) for action in power.ACTIONS),
    path("vms/<uuid:id>/actions/restore", views.VMRestore.as_view()),
    path("vms/<uuid:id>/actions/purge", views.VMPurge.as_view()),
    path("vms/<uuid:id>/actions/resize", views.VMResize.as_view()),
    path("vms/<uuid:id>/actions/clone", views.VMClone.as_view()),
    path("vms/<uuid:id>/actions/publish", views.VMPublish.as_view()),
    path("vms/<uuid:id>/guarantee", guarantee.VMGuarantee.as_view()),
    path("vms/<uuid:id>/metrics", guarantee.VMMetrics.as_view()),
    path("vms/<uuid:id>/backups", backups.VMBackups.as_view()),
    path("vms/<uuid:id>/schedules", schedules.VMSchedules.as_view()),
    path("schedules", schedules.ScheduleList.as_view()),
    path("schedules/<uuid:id>", schedules.ScheduleDetail.as_view()),
    path("schedules/<uuid:id>/runs", schedules.ScheduleRuns.as_view()),
    path("vms/<uuid:id>/console", views.VMConsole.as_view()),
    path("vms/<uuid:id>/user-data", views.VMUserData.as_view()),
    path("vms/<uuid:id>/placements", groups.VMPlacements.as_view()),
    path("tenants/<slug:tenant>/actions/suspend", tenants.TenantSuspend.as_view()),
    path("tenants/<slug:tenant>/actions/resume", tenants.TenantResume.as_view()),
    path("tenants/<slug:tenant>/actions/close", tenants.TenantClose.as_view()),
    path("tenants/<slug:tenant>/actions/reopen", tenants.TenantReopen.as_view()),
    path("tenants/<slug:tenant>/export", tenants.TenantExport.as_view()),
    path("affinity-groups", groups.Groups.as_view()),
    path("affinity-groups/<uuid:id>", groups.GroupDetail.as_view()),
    path("affinity-groups/<uuid:id>/actions/add", groups.GroupMember.as_view(is_added=True)),
    path("affinity-groups/<uuid:id>/actions/remove", groups.GroupMember.as_view(is_added=False)),
    path("volumes", volumes.Volumes.as_view()),
    path("volumes/<uuid:id>", volumes.VolumeDetail.as_view()),
    path("volumes/<uuid:id>/actions/attach", volumes.VolumeAttach.as_view()),
    path("volumes/<uuid:id>/actions/detach", volumes.VolumeDetach.as_view()),
    path("volumes/<uuid:id>/actions/grow", volumes.VolumeGrow.as_view()),
    path("volumes/<uuid:id>/actions/move", volumes.VolumeMove.as_view()),
    path("backups", backups.Backups.as_view()),
    path("backups/<uuid:id>", backups.BackupDetail.as_view()),
    path("backups/<uuid:id>/actions/verify", backups.BackupVerify.as_view()),
    path("backups/<uuid:id>/actions/restore", backups.BackupRestore.as_view()),
    path("vms/<uuid:id>/snapshots", snapshots.VMSnapshots.as_view()),
    path("snapshots", snapshots.Snapshots.as_view()),
    path("snapshots/<uuid:id>", snapshots.SnapshotDetail.as_view()),
    path("snapshots/<uuid:id>/actions/revert", snapshots.SnapshotRevert.as_view()),
    path("drift", drift.DriftList.as_view()),
    path("drift/<uuid:id>", drift.DriftDetail.as_view()),
    *(
        path(f"drift/<uuid:id>/actions/{resolution}", drift.DriftResolve.as_view(resolution=resolution))
        for resolution in (Resolution.ADOPT, Resolution.RESTORE, Resolution.CLEAN_UP)
    ),
    *(
        path(f"drift/<uuid:id>/actions/{resolution}", drift.DriftMark.as_view(resolution=resolution))
        for resolution in (Resolution.IGNORE, Resolution.REOPEN)
    ),
    path("images", catalogue.Images.as_view()),
    path("images/<slug:image>", catalogue.ImageDetail.as_view()),
    path("images/<slug:image>/actions/evict", catalogue.ImageEvict.as_view()),
    path("uploads", uploads.Uploads.as_view()),
    path("uploads/<uuid:id>", uploads.UploadDetail.as_view()),
    path("uploads/<uuid:id>/actions/finish", uploads.UploadFinish.as_view()),
    path("flavors", catalogue.Flavors.as_view()),
    path("flavors/<slug:flavor>", catalogue.FlavorDetail.as_view()),
    path("flavors/<slug:flavor>/guarantee", guarantee.FlavorGuarantee.as_view()),
    path("networks", catalogue.Networks.as_view()),
    path("networks/<slug:network>", catalogue.NetworkDetail.as_view()),
]
