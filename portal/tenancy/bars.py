"""Why a role is worth less than it says: its tenant is suspended, or a second factor is asked for and missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from django.db.models import Exists

from portal.accounts.models import User
from portal.tenancy.roles import READS, Permission

SECOND_FACTOR = "second_factor_required"
SUSPENDED = "tenant_suspended"


@dataclass(frozen=True)
class Bar:
    """Of all that a role gives only `leaves` is left; `code` and `words` say why."""

    code: str
    words: str
    leaves: frozenset[Permission]


def has_second_factor(user: User) -> Exists:
    """For a query: recovery codes alone are none."""
    factors = Authenticator.objects.filter(user=user).exclude(type=Authenticator.Type.RECOVERY_CODES)
    return Exists(factors)


def bar_of(tenant: Mapping[str, Any], *, has_factor: bool) -> Bar | None:
    """`tenant` has name, needs_second_factor, suspended_at and suspended_for."""
    if tenant["needs_second_factor"] and not has_factor:
        words = f"{tenant['name']} asks its members for a second factor. Set one up under Sign-in & security."
        return Bar(SECOND_FACTOR, words, frozenset())
    if tenant["suspended_at"] is not None:
        reason = f": {tenant['suspended_for']}" if tenant["suspended_for"] else ""
        words = f"{tenant['name']} is suspended{reason}. What it has is kept, and nothing can be changed."
        return Bar(SUSPENDED, words, READS)
    return None


STAFF_BAR = Bar(
    SECOND_FACTOR, "The provider's staff need a second factor. Set one up under Sign-in & security.", frozenset()
)
