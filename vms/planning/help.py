"""What would help where there is no room, beside what the refusal says itself."""

from __future__ import annotations

from hosts.placement import NoCapacity
from portal.quotas.ledger import Exceeded
from portal.tenancy.gate import Actor
from vms import selectors
from vms.models import Flavor
from vms.planning.draft import Draft, carry_out
from vms.planning.kinds import Body, Kind, Subject
from vms.planning.trial import trial

MOST_TRIED = 8


def of(actor: Actor, kind: Kind, subject: Subject, body: Body, found: Draft) -> tuple[str, ...]:
    """Smaller sizes that would do, each tried; and the limit to ask for."""
    words, refusal = [], found.refusal
    if not isinstance(refusal, Exceeded | NoCapacity):
        return ()
    if "flavor" in body and (sizes := _sizes_that_do(actor, kind, subject, body)):
        words.append(f"Smaller sizes that would do: {', '.join(sizes)}.")
    if isinstance(refusal, Exceeded):
        limit, resource = refusal.extra["used"] + refusal.extra["requested"], refusal.extra["resource"]
        words.append(f"Ask for {resource} of {limit} at /api/v1/quotas/{subject.tenant.slug}/requests.")
    return tuple(words)


def _sizes_that_do(actor: Actor, kind: Kind, subject: Subject, body: Body) -> list[str]:
    """Slugs, the largest first."""
    flavors = list(selectors.flavors())
    asked = next((each for each in flavors if body["flavor"] in (each.slug, str(each.pk))), None)
    smaller = [each for each in flavors if asked is not None and _is_smaller(each, asked)]
    return [each.slug for each in smaller[: -MOST_TRIED - 1 : -1] if _would_do(actor, kind, subject, body, each)]


def _is_smaller(one: Flavor, other: Flavor) -> bool:
    sizes = [(getattr(one, name), getattr(other, name)) for name in ("vcpus", "memory_mib", "disk_gib")]
    return one.pk != other.pk and all(mine <= theirs for mine, theirs in sizes)


def _would_do(actor: Actor, kind: Kind, subject: Subject, body: Body, flavor: Flavor) -> bool:
    with trial():
        found, _ = carry_out(actor, kind, subject, {**body, "flavor": flavor.slug})
        return found.refusal is None
