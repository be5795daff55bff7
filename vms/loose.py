"""Volumes of no machine. What lies on shared storage is any host's that sees it, and is held of one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from hosts import reach
from hosts.models import Host, HostState
from portal.operations.selectors import active_on_each
from vms import claims, layers
from vms.models import Layer, Volume


def of(host: Host) -> QuerySet[Volume]:
    rows = Volume.objects.unscoped("the provider's hosts").select_related("layer__pool")
    return rows.filter(vm=None, layer__pool__host=host)


def staying(hosts: Iterable[Host]) -> Mapping[UUID, int]:
    """By host how many lie where no other host sees them. As many queries for one host as for all."""
    shared, rows = reach.sharers(), Volume.objects.unscoped("the provider's hosts").order_by()
    places = rows.filter(vm=None, layer__pool__host__in=hosts).values_list("layer__pool__host", "layer__pool__name")
    return Counter(place[0] for place in places if place not in shared)


def take_to(volume: Volume, host: Host) -> bool:
    """Whether that host reaches its file; if so it is that host's from now on. The caller has locked it."""
    files = list(layers.chains([volume.layer]))
    pools = reach.counterparts((layer.pool for layer in files), host)
    if any(layer.pool_id not in pools for layer in files):
        return False
    claims.take([volume.pk], volume.layer.pool.host_id, host.pk)
    for layer in files:
        Layer.objects.filter(pk=layer.pk).update(pool=pools[layer.pool_id])
    volume.layer.pool = pools[volume.layer.pool_id]
    return True


@transaction.atomic
def leave(host: Host) -> None:
    """Before the host goes out of service: what others see as well is theirs, but for what something works on."""
    volumes = list(of(host).select_for_update(of=("self",)))
    busy = active_on_each(volume.pk for volume in volumes)
    for volume in volumes:
        if volume.pk not in busy:
            any(take_to(volume, other) for other in _seeing(volume, host))


def _seeing(volume: Volume, host: Host) -> list[Host]:
    pools = reach.same_storage(volume.layer.pool).filter(host__state=HostState.ENABLED).exclude(host=host)
    return [pool.host for pool in pools.select_related("host").order_by("host__name")]
