"""Addresses of the pages on machines and what they are made of. The console has its own."""

from django.urls import path

from vms.web.views import (
    backups,
    bin,
    bulk,
    catalogue,
    create,
    detail,
    disks,
    drift,
    image_add,
    images,
    listing,
    overview,
    provider_images,
    schedules,
    settings,
    volumes,
)

IMAGE = "t/<slug:slug>/images/<uuid:image_id>/"
VM = "t/<slug:slug>/vms/<uuid:vm_id>/"
VOLUME = "t/<slug:slug>/volumes/<uuid:volume_id>/"

urlpatterns = [
    path("t/<slug:slug>/", overview.overview, name="overview"),
    path("t/<slug:slug>/vms/", listing.vm_list, name="vm-list"),
    path("t/<slug:slug>/vms/create/", create.vm_create, name="vm-create"),
    path("t/<slug:slug>/vms/bulk/", bulk.vm_bulk, name="vm-bulk"),
    path("t/<slug:slug>/vms/bin/", bin.vm_bin, name="vm-bin"),
    path("t/<slug:slug>/vms/bin/rows/", bin.vm_bin_rows, name="vm-bin-rows"),
    path(f"{VM}schedules/", schedules.vm_schedules, name="vm-schedules"),
    path(f"{VM}schedules/<uuid:schedule_id>/", schedules.vm_schedule_change, name="vm-schedule-change"),
    path(f"{VM}restore/", bin.vm_restore, name="vm-restore"),
    path(f"{VM}purge/", bin.vm_purge, name="vm-purge"),
    path(VM, detail.vm_detail, name="vm-detail"),
    path(f"{VM}row/", listing.vm_row, name="vm-row"),
    path(f"{VM}header/", detail.vm_header, name="vm-header"),
    path(f"{VM}disks/", disks.vm_disks, name="vm-disks"),
    path(f"{VM}disks/rows/", disks.vm_disk_rows, name="vm-disk-rows"),
    path(f"{VM}backups/", backups.vm_backups, name="vm-backups"),
    path("t/<slug:slug>/backups/", backups.backup_list, name="backup-list"),
    path("t/<slug:slug>/backups/<uuid:backup_id>/restore/", backups.backup_restore, name="backup-restore"),
    path("t/<slug:slug>/backups/<uuid:backup_id>/verify/", backups.backup_verify, name="backup-verify"),
    path("t/<slug:slug>/backups/<uuid:backup_id>/delete/", backups.backup_delete, name="backup-delete"),
    path(f"{VM}activity/", detail.vm_activity, name="vm-activity"),
    path(f"{VM}settings/", settings.vm_settings, name="vm-settings"),
    path(f"{VM}actions/<slug:action>/", detail.vm_action, name="vm-action"),
    path("t/<slug:slug>/images/", images.image_list, name="image-list"),
    path("t/<slug:slug>/images/add/", image_add.image_add, name="image-add"),
    path(IMAGE, images.image_detail, name="image-detail"),
    path(f"{IMAGE}row/", images.image_row, name="image-row"),
    path(f"{IMAGE}header/", images.image_header, name="image-header"),
    path(f"{IMAGE}evict/", images.image_evict, name="image-evict"),
    path("t/<slug:slug>/volumes/", volumes.volume_list, name="volume-list"),
    path("t/<slug:slug>/volumes/create/", volumes.volume_create, name="volume-create"),
    path(VOLUME, volumes.volume_detail, name="volume-detail"),
    path(f"{VOLUME}header/", volumes.volume_header, name="volume-header"),
    path("provider/drift/", drift.drift_list, name="drift-list"),
    path("provider/drift/cards/", drift.drift_cards, name="drift-cards"),
    path("provider/drift/<uuid:drift_id>/<slug:resolution>/", drift.drift_resolve, name="drift-resolve"),
    path("provider/images/", provider_images.provider_images, name="provider-images"),
    path("provider/images/<uuid:image_id>/", provider_images.provider_image_offer, name="provider-image-offer"),
    path("provider/flavors/", catalogue.provider_flavors, name="provider-flavors"),
    path("provider/flavors/<uuid:flavor_id>/", catalogue.provider_flavor_offer, name="provider-flavor-offer"),
]
