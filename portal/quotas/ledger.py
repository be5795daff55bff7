"""The ledger: claims on accounts, made and released in the transaction of what they pay for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, Q, Sum

from portal.core.errors import Conflict
from portal.quotas.models import Account, Claim


class Exceeded(Conflict):
    """A limit would be passed; `extra` says which: resource, limit, used, requested."""

    code = "quota_exceeded"


class NoAccount(RuntimeError):
    """Nobody opened it, or it was closed since."""


def open_account(owner_id: UUID) -> None:
    """The account of a new tenant or host."""
    Account.objects.get_or_create(pk=owner_id)


def close_account(owner_id: UUID) -> None:
    """Remove an account on which nothing is held; ProtectedError otherwise."""
    Account.objects.filter(pk=owner_id).delete()


def hold(account_id: UUID, holder_id: UUID, wanted: Mapping[str, int], limits: Mapping[str, int | None]) -> None:
    """Set what `holder_id` holds of the account to `wanted`, in full or not at all.

    Growth beyond a limit raises Exceeded; shrinking or staying is always allowed, also above a lowered limit.
    Must run in the caller's transaction: the claim stands or falls with it.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("hold() belongs into the transaction of what it pays for")
    lock(account_id)
    held_now, totals = _held_and_used(account_id, holder_id)
    for resource, amount in wanted.items():
        requested = amount - held_now.get(resource, 0)
        _check(resource, limits.get(resource), totals.get(resource, 0), requested)
    _write(account_id, holder_id, held_now, wanted)


def _held_and_used(account_id: UUID, holder_id: UUID) -> tuple[dict[str, int], dict[str, int]]:
    own = Sum("amount", filter=Q(holder_id=holder_id))
    rows = Claim.objects.filter(account_id=account_id).values_list("resource").annotate(total=Sum("amount"), own=own)
    found = list(rows)
    return {resource: own for resource, _, own in found if own}, {resource: total for resource, total, _ in found}


def release(holder_id: UUID, account_id: UUID | None = None) -> None:
    """Give back all that a holder has, of one account or of all. Giving back needs no lock."""
    claims = Claim.objects.filter(holder_id=holder_id)
    if account_id is not None:
        claims = claims.filter(account_id=account_id)
    claims.delete()


def held(account_id: UUID, holder_id: UUID) -> dict[str, int]:
    """What one holder has of an account, by resource."""
    return dict(Claim.objects.filter(account_id=account_id, holder_id=holder_id).values_list("resource", "amount"))


def used(account_id: UUID) -> dict[str, int]:
    """What is held of an account, by resource."""
    rows = Claim.objects.filter(account_id=account_id).values_list("resource").annotate(total=Sum("amount"))
    return dict(rows)


def used_by_account(account_ids: Iterable[UUID]) -> dict[UUID, dict[str, int]]:
    """The same for many accounts in one query."""
    rows = (
        Claim.objects.filter(account_id__in=list(account_ids))
        .values_list("account_id", "resource")
        .annotate(total=Sum("amount"))
    )
    result: dict[UUID, dict[str, int]] = defaultdict(dict)
    for account_id, resource, total in rows:
        result[account_id][resource] = total
    return result


def holders_by_account(account_ids: Iterable[UUID], resource: str) -> dict[UUID, int]:
    """How many hold something of that resource, in one query."""
    rows = Claim.objects.filter(account_id__in=list(account_ids), resource=resource).values_list("account_id")
    return dict(rows.annotate(Count("pk")))


def lock(account_id: UUID) -> None:
    """Writers of one account queue here: the row is theirs until they commit, and so is what is held of it.

    Raises NoAccount.
    """
    if not Account.objects.filter(pk=account_id).update(generation=F("generation") + 1):
        raise NoAccount(f"account {account_id} was never opened")


def _check(resource: str, limit: int | None, in_use: int, requested: int) -> None:
    if limit is None or requested <= 0 or in_use + requested <= limit:
        return
    raise Exceeded(
        f"{in_use} of {limit} used, this needs {requested} more.",
        extra={"resource": resource, "limit": limit, "used": in_use, "requested": requested},
    )


def _write(account_id: UUID, holder_id: UUID, held: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    """The account is locked, so `held` is what there is; all that is new is written at once."""
    own = Claim.objects.filter(account_id=account_id, holder_id=holder_id)
    if gone := [resource for resource, amount in wanted.items() if not amount and resource in held]:
        own.filter(resource__in=gone).delete()
    for resource, amount in wanted.items():
        if amount and held.get(resource, amount) != amount:
            own.filter(resource=resource).update(amount=amount)
    fixed = {"account_id": account_id, "holder_id": holder_id}
    new = {resource: amount for resource, amount in wanted.items() if amount and resource not in held}
    Claim.objects.bulk_create(Claim(resource=resource, amount=amount, **fixed) for resource, amount in new.items())
