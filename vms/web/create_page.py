"""What the create page shows: everything preselected, each size with what it takes of the quota."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model

from hosts import selectors as hosts
from portal.accounts.models import SshKey
from portal.core.units import THIN_SPACE, mib
from portal.quotas import selectors as quotas
from portal.quotas import words
from portal.quotas.selectors import Usage
from portal.quotas.words import amount
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.web.presenters.meter import NAMES, shortfall
from vms import promise_words, selectors
from vms.models import Flavor, Image
from vms.promise_words import Words
from vms.web import names
from vms.web.presenters import size_words


@dataclass(frozen=True)
class ImageCard:
    id: str
    slug: str
    name: str
    os: str
    description: str
    needs: str
    min_memory_mib: int
    min_disk_gib: int
    is_chosen: bool


@dataclass(frozen=True)
class FlavorCard:
    """`reason` says which quota it does not fit into; "" where it does."""

    id: str
    slug: str
    name: str
    words: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    memory: str
    disk: str
    promise: Words
    reason: str
    is_chosen: bool


@dataclass(frozen=True)
class SummaryLine:
    """One resource: before, after and the limit, in words."""

    resource: str
    name: str
    used: int
    limit: int | None
    takes: int
    before: str
    after: str
    of: str
    percent_before: int
    percent_after: int


@dataclass(frozen=True)
class CreatePage:
    """`why_not` says why nothing can be created now, whatever one chooses; "" where something can."""

    images: Sequence[ImageCard]
    flavors: Sequence[FlavorCard]
    summary: Sequence[SummaryLine]
    chosen_image: ImageCard | None
    chosen_flavor: FlavorCard | None
    is_emulated: bool
    why_not: str


def page(actor: Actor, tenant: Tenant, chosen: Mapping[str, str]) -> CreatePage:
    """`chosen` are slugs or ids of `image` and `flavor`, as far as they are known."""
    usage = quotas.usage(actor, tenant)
    images = _image_cards(list(selectors.offered_images(actor, tenant)), chosen.get("image", ""))
    flavors = _flavor_cards(list(selectors.flavors()), usage, chosen.get("flavor", ""))
    flavor = next((card for card in flavors if card.is_chosen), None)
    return CreatePage(
        images=images,
        flavors=flavors,
        summary=_summary(usage, flavor),
        chosen_image=next((card for card in images if card.is_chosen), None),
        chosen_flavor=flavor,
        is_emulated=hosts.runs_by_emulation(),
        why_not=_why_not(usage, images, flavors, flavor),
    )


def _why_not(
    usage: Usage, images: Sequence[ImageCard], flavors: Sequence[FlavorCard], chosen: FlavorCard | None
) -> str:
    if no_host := hosts.why_none_takes_machines():
        return no_host
    if full := shortfall(usage, {"vms": 1}):
        return f"{full} {words.advice('vms')}"
    if not images or not flavors:
        return "There is nothing to create a machine from yet."
    return "" if chosen else f"No size fits into the quota. {words.advice('vms')}"


def initial(actor: Actor, tenant: Tenant, keys: Sequence[SshKey], given: Mapping[str, str]) -> dict[str, Any]:
    """What the form begins with: the address's choices, else those of one's latest machine; all keys; a free name."""
    latest = selectors.latest_of(actor, tenant)
    last = {"image": str(latest.image_id), "flavor": str(latest.flavor_id)} if latest else {}
    return {
        "name": given.get("name") or _free_name(actor, tenant),
        "image": given.get("image") or last.get("image", ""),
        "flavor": given.get("flavor") or last.get("flavor", ""),
        "ssh_keys": [str(key.pk) for key in keys],
    }


def curl(url: str, tenant: Tenant, page: CreatePage, name: str, keys: Sequence[str]) -> str:
    """The same request for a shell; the token is a placeholder."""
    body = {
        "tenant": tenant.slug,
        "name": name,
        "image": page.chosen_image.slug if page.chosen_image else "",
        "flavor": page.chosen_flavor.slug if page.chosen_flavor else "",
        "ssh_keys": list(keys),
    }
    return (
        f"curl -X POST {url} \\\n  -H 'Authorization: Bearer TOKEN' \\\n  -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(body)}'"
    )


def _free_name(actor: Actor, tenant: Tenant) -> str:
    offered = names.candidates()
    taken = selectors.taken_names(actor, tenant, offered)
    return next((name for name in offered if name not in taken), offered[-1])


def _image_cards(images: list[Image], wanted: str) -> list[ImageCard]:
    chosen = _chosen(images, wanted) or (images[0] if images else None)
    return [
        ImageCard(
            id=str(image.pk),
            slug=image.slug,
            name=image.name,
            os=image.os,
            description=image.description,
            needs=f"from {mib(image.min_memory_mib)} and {image.least_disk_gib}{THIN_SPACE}GiB",
            min_memory_mib=image.min_memory_mib,
            min_disk_gib=image.least_disk_gib,
            is_chosen=image is chosen,
        )
        for image in images
    ]


def _flavor_cards(flavors: list[Flavor], usage: Usage, wanted: str) -> list[FlavorCard]:
    reasons = {flavor.pk: shortfall(usage, _takes(flavor)) for flavor in flavors}
    fitting = [flavor for flavor in flavors if not reasons[flavor.pk]]
    chosen = _chosen(fitting, wanted) or (fitting[0] if fitting else None)
    return [
        FlavorCard(
            id=str(flavor.pk),
            slug=flavor.slug,
            name=flavor.name,
            words=size_words(flavor.vcpus, flavor.memory_mib, flavor.disk_gib),
            vcpus=flavor.vcpus,
            memory_mib=flavor.memory_mib,
            disk_gib=flavor.disk_gib,
            memory=mib(flavor.memory_mib),
            disk=f"{flavor.disk_gib}{THIN_SPACE}GiB",
            promise=promise_words.words(flavor.promise(), flavor.cpu_floor),
            reason=reasons[flavor.pk],
            is_chosen=flavor is chosen,
        )
        for flavor in flavors
    ]


def _chosen(rows: Sequence[Any], wanted: str) -> Model | None:
    return next((row for row in rows if wanted and wanted in (row.slug, str(row.pk))), None)


def _takes(flavor: Flavor) -> dict[str, int]:
    return {"vcpus": flavor.vcpus, "memory_mib": flavor.memory_mib, "disk_gib": flavor.disk_gib}


def _summary(usage: Usage, card: FlavorCard | None) -> list[SummaryLine]:
    takes = {"vms": 0, "vcpus": 0, "memory_mib": 0, "disk_gib": 0}
    if card:
        takes = {"vms": 1, "vcpus": card.vcpus, "memory_mib": card.memory_mib, "disk_gib": card.disk_gib}
    return [summary_line(name, usage.used[name], usage.limits[name], takes.get(name, 0)) for name in takes]


def summary_line(resource: str, used: int, limit: int | None, takes: int) -> SummaryLine:
    return SummaryLine(
        resource=resource,
        name=NAMES[resource],
        used=used,
        limit=limit,
        takes=takes,
        before=amount(resource, used),
        after=amount(resource, used + takes),
        of="no limit" if limit is None else f"of {amount(resource, limit)}",
        percent_before=_percent(used, limit),
        percent_after=_percent(used + takes, limit),
    )


def _percent(value: int, limit: int | None) -> int:
    return min(100, round(100 * value / limit)) if limit else 0
