"""The image store against the rows of images and uploads. That an image has its file is the doctor's to say."""

from __future__ import annotations

from collections.abc import Iterator

from portal.operations.services import active_on
from vms import image_store, intake
from vms.audit.findings import Finding, Kind
from vms.models import Image, ImageState


def findings() -> Iterator[Finding]:
    """What the reaper (vms.services.uploads.reap) has left longer than it should."""
    for path in image_store.unnamed(older_than=image_store.UNNAMED_SECONDS + 3 * intake.REAP_SECONDS):
        yield Finding(Kind.IMAGE_FILE_WITHOUT_IMAGE, "", path.name, "a file in the image store is no image's")
    for id in intake.ids(older_than=3 * intake.REAP_SECONDS):
        if not intake.is_owned(id) and intake.directory(id).exists():
            yield Finding(Kind.INTAKE_WITHOUT_OWNER, "", str(id), "files of an import that is over were not removed")
    pending = Image.objects.unscoped("audit").filter(state=ImageState.PENDING)
    for image in pending:
        if active_on("image", image.pk) is None and pending.filter(pk=image.pk).exists():
            yield Finding(Kind.IMAGE_WITHOUT_OPERATION, "", str(image.pk), f"nobody imports {image.name}")
