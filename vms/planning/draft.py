"""What a change comes to: measured before it, and after it has ended well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hosts.models import Host, Placement
from portal.billing import rates
from portal.billing import selectors as billing
from portal.billing.rates import Held, Price
from portal.core import clocks
from portal.core.errors import DomainError, Forbidden, NotFound
from portal.quotas import selectors as quotas
from portal.quotas.models import RESOURCES
from portal.quotas.selectors import Usage
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from vms.models import Flavor
from vms.planning.kinds import Body, Kind, Notes, Result, Subject, end_well
from vms.planning.trial import trial
from vms.workflows.clone import CLONE
from vms.workflows.create import CREATE
from vms.workflows.migrate import MIGRATE
from vms.workflows.resize import RESIZE
from vms.workflows.volumes.create import CREATE as VOLUME_CREATE
from vms.workflows.volumes.grow import GROW

LOOKS_AHEAD = timedelta(days=30)  # for other prices
_CHOSEN = frozenset({CREATE.kind, MIGRATE.kind, VOLUME_CREATE.kind})  # all others stay where they are
_PLACED = _CHOSEN | {CLONE.kind, RESIZE.kind, GROW.kind}


@dataclass(frozen=True)
class Where:
    """Where it fits; a volume has no service class.

    `host` and `refused` (words by host) are for the provider's staff, None for others.
    """

    service_class: str | None
    storage_class: str
    host: str | None = None
    refused: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Help:
    """What would do instead: sizes, and limits by resource."""

    sizes: tuple[Flavor, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """`refusal` is what the use case would say; then there is no price, and nothing after. `price` None: the actor may
    not read what the tenant is charged. `where` None: it is placed nowhere."""

    tenant: Tenant
    before: Usage
    refusal: DomainError | None = None
    after: Usage | None = None
    price: Price | None = None
    where: Where | None = None
    notes: Notes = field(default_factory=Notes)
    help: Help = field(default_factory=Help)
    refused: Mapping[str, str] | None = None

    @property
    def change(self) -> Mapping[str, int]:
        """By resource, how much more of the quota is used."""
        if self.after is None:
            return {}
        return {name: self.after.used[name] - self.before.used[name] for name in RESOURCES}


def carry_out(actor: Actor, kind: Kind, subject: Subject, body: Body) -> tuple[Draft, Result]:
    """Run the use case in the caller's transaction, and measure what that comes to. Whether it stays is the caller's.

    Raises NotFound and Forbidden; every other refusal is in the draft.
    """
    tenant = subject.tenant
    may_see_price = actor.can(Permission.BILLING_READ, tenant.pk)
    before, held = quotas.usage(actor, tenant), billing.held(tenant.pk)
    try:
        result = kind.act(actor, subject, body)
    except (NotFound, Forbidden):
        raise
    except DomainError as refusal:
        return Draft(tenant, before, refusal, refused=_refused(actor, refusal)), Result()
    notes, where = kind.notes(subject, result, body), _where(actor, result)
    with trial():
        end_well(result)
        after, held_after = quotas.usage(actor, tenant), billing.held(tenant.pk)
    price, coming = _price(tenant, held, held_after) if may_see_price else (None, ())
    notes = replace(notes, warnings=(*notes.warnings, *coming))
    return Draft(tenant, before, after=after, price=price, where=where, notes=notes), result


def _price(tenant: Tenant, before: Held, after: Held) -> tuple[Price, tuple[str, ...]]:
    """By the prices of now, and a warning where others come soon that change it."""
    now = clocks.database_now()
    tariffs = billing.tariffs(tenant.pk, now, now + LOOKS_AHEAD)
    price = rates.price(before, after, tariffs[0])
    for later in tariffs[1:]:
        then = rates.price(before, after, later)
        if (then.currency, then.change) != (price.currency, price.change):
            words = f"From {later.since:%Y-%m-%d %H:%M} UTC on other prices are valid: {then.change.month}"
            return price, (f"{words} {then.currency} a month for this.",)
    return price, ()


def _where(actor: Actor, result: Result) -> Where | None:
    vm, operation = result.vm, result.operation
    disk = result.volume if vm is None else vm.boot_volume
    if disk is None or operation is None or operation.kind not in _PLACED:
        return None
    promised = operation.params.get("promised", {}).get("service_class", vm.service_class if vm else None)
    where = Where(promised, disk.layer.pool.storage_class.slug)
    if not actor.can(Permission.HOST_READ):
        return where
    host = Host.objects.get(pk=operation.params.get("to") or (vm.host_id if vm else disk.layer.pool.host_id))
    decided = Placement.objects.filter(holder_id=operation.target_id, host=host)
    chosen = decided.first() if operation.kind in _CHOSEN else None
    return replace(where, host=host.name, refused=_by_host(chosen.reasons) if chosen else {})


def _by_host(reasons: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    return {
        host: f"{constraint}: {words}" if words else constraint
        for constraint, hosts in reasons.items()
        for host, words in hosts.items()
    }


def _refused(actor: Actor, refusal: DomainError) -> Mapping[str, str] | None:
    """Why not, by host, for the provider's staff."""
    decision = getattr(refusal, "decision", None)
    if decision is None or not actor.can(Permission.HOST_READ):
        return None
    return {
        host: f"{each.constraint}: {each.detail}" if each.detail else str(each.constraint)
        for host, each in decision.refused.items()
    }
