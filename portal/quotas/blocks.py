"""A tenant whose budget is spent grows no further: asked under the lock of its account, where claims are made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from portal.core import clocks
from portal.core.errors import Conflict
from portal.quotas import ledger
from portal.quotas.models import GrowthBlock


class BudgetExceeded(Conflict):
    code = "budget_exceeded"


def block(tenant_id: UUID, *, reason: str, stops: bool, until: datetime) -> None:
    """Refuse growth until then, and with `stops` starts too. The caller holds the account's lock."""
    values = {"reason": reason, "stops": stops, "until": until}
    GrowthBlock.objects.update_or_create(tenant_id=tenant_id, defaults=values)


def lift(tenant_id: UUID) -> None:
    GrowthBlock.objects.filter(tenant_id=tenant_id).delete()


def of(tenant_id: UUID) -> GrowthBlock | None:
    """What holds now; one whose month is over holds no more, whether or not anybody removed it. One query or two."""
    found = GrowthBlock.objects.filter(tenant_id=tenant_id).first()
    return found if found is not None and found.until > clocks.database_now() else None


def refuse_growth(tenant_id: UUID, holder_id: UUID, wanted: Mapping[str, int]) -> None:
    """Raises BudgetExceeded where the holder would have more than before. Writers of one tenant queue here."""
    ledger.lock(tenant_id)
    found = of(tenant_id)
    if found is None:
        return
    held = ledger.held(tenant_id, holder_id)
    if any(amount > held.get(resource, 0) for resource, amount in wanted.items()):
        raise _refusal(found)


def refuse_start(tenant_id: UUID) -> None:
    """Raises BudgetExceeded while the budget stops machines."""
    ledger.lock(tenant_id)
    found = of(tenant_id)
    if found is not None and found.stops:
        raise _refusal(found)


def _refusal(found: GrowthBlock) -> BudgetExceeded:
    words = f"{found.reason} An owner can raise the budget; it begins anew on {found.until:%-d %B} (UTC)."
    return BudgetExceeded(words, extra={"until": found.until.isoformat()})


def stopping(tenant_ids: list[UUID]) -> list[UUID]:
    """Of these, those that may have nothing running now."""
    rows = GrowthBlock.objects.filter(tenant_id__in=tenant_ids, stops=True, until__gt=clocks.database_now())
    return list(rows.values_list("tenant_id", flat=True))
