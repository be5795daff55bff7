"""What would do where there is no room, beside what the refusal says itself."""

from __future__ import annotations

from hosts.placement import NoCapacity
from portal.core.errors import DomainError
from portal.quotas.ledger import Exceeded
from portal.tenancy.gate import Actor
from vms import selectors
from vms.models import Flavor
from vms.planning.draft import Help, carry_out
from vms.planning.kinds import Body, Kind, Subject
from vms.planning.trial import trial

MOST_TRIED = 8


def help_with(refusal: DomainError | None, actor: Actor, kind: Kind, subject: Subject, body: Body) -> Help:
    """Smaller sizes, each tried; and the limit to ask for."""
    if not isinstance(refusal, Exceeded | NoCapacity):
        return Help()
    sizes = _sizes_that_do(actor, kind, subject, body) if "flavor" in body else []
    if not isinstance(refusal, Exceeded):
        return Help(tuple(sizes))
    facts = refusal.extra
    return Help(tuple(sizes), {facts["resource"]: facts["used"] + facts["requested"]})


def _sizes_that_do(actor: Actor, kind: Kind, subject: Subject, body: Body) -> list[Flavor]:
    """The largest first."""
    flavors = list(selectors.flavors())
    asked = next((each for each in flavors if body["flavor"] in (each.slug, str(each.pk))), None)
    smaller = [each for each in flavors if asked is not None and _is_smaller(each, asked)]
    return [each for each in smaller[: -MOST_TRIED - 1 : -1] if _would_do(actor, kind, subject, body, each)]


def _is_smaller(one: Flavor, other: Flavor) -> bool:
    sizes = [(getattr(one, name), getattr(other, name)) for name in ("vcpus", "memory_mib", "disk_gib")]
    return one.pk != other.pk and all(mine <= theirs for mine, theirs in sizes)


def _would_do(actor: Actor, kind: Kind, subject: Subject, body: Body, flavor: Flavor) -> bool:
    with trial():
        found, _ = carry_out(actor, kind, subject, {**body, "flavor": flavor.slug})
        return found.refusal is None
