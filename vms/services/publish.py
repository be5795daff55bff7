"""Publishing a machine as an image."""

from __future__ import annotations

from django.db import transaction

from portal.core import text
from portal.core.ids import uuid7
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.quotas import services as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from vms import image_properties
from vms.layers import fresh_on
from vms.models import VM, Image, ImageFormat
from vms.models.catalogue import image_amounts
from vms.services import guard, pools
from vms.services.clone import refuse_if_deep
from vms.services.uploads import NewImage, pending_image
from vms.states import Action
from vms.workflows.image_publish import PUBLISH


@transaction.atomic
def publish_vm(*, actor: Actor, vm: VM, name: str, slug: str = "", description: str = "") -> tuple[Image, Operation]:
    """A private image of the same tenant with a copy of the machine's boot disk, as it is.

    One that runs goes on: its disk is frozen for an instant, and merged later. What is on the disk is in the image:
    accounts and their passwords, SSH host keys, the machine id. Raises Invalid at the field, Forbidden, Exceeded
    (quota), NoCapacity, or Conflict.
    """
    guard.require(actor, vm, Action.PUBLISH)
    actor.require(Permission.IMAGE_WRITE, vm.tenant_id)
    properties = {
        **image_properties.checked({"description": description}),
        "os": vm.image.os,
        "default_user": vm.image.default_user,
        "has_cloud_init": vm.image.has_cloud_init,
        "firmware": vm.firmware,
        "min_memory_mib": vm.image.min_memory_mib,
        "min_disk_gib": vm.boot_volume.size_gib,
    }
    new = NewImage(
        text.label(name),
        ImageFormat.QCOW2,
        slug=text.no_id(text.slug(slug), "slug") if slug else "",
        properties=properties,
    )
    id, least = uuid7(), 1  # until it is known how large the file becomes
    quotas.hold(vm.tenant, id, image_amounts(least))
    source = vm.boot_volume.layer
    pools.require_room_beside(vm, [source])  # of which a copy is made there
    is_frozen = vm.status != "stopped"
    if is_frozen:
        refuse_if_deep([vm.boot_volume])
    tops = [fresh_on(source, vm.boot_volume.size_gib)] if is_frozen else []
    image = pending_image(id, vm.tenant, new, least, actor.label)
    operation = operations.submit(
        PUBLISH,
        actor=actor,
        target=image,
        title=f"Publish {vm.name} as image {image.name}",
        params={
            "source": str(vm.pk),
            "host": str(vm.host_id),
            "pool": source.pool.name,
            "from": str(source.pk),
            "tops": [str(top.pk) for top in tops],
            "sha256": "",
        },
        lane=vm.host_id,
        after={"source": vm.name},
        holds=[vm, vm.boot_volume, source, *tops] if is_frozen else [],
        shares=[] if is_frozen else [vm, source],
    )
    log.record("vm.publish-asked", actor=actor, target=vm, operation_id=operation.pk, after={"as": image.name})
    return image, operation
