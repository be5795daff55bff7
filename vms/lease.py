"""How a machine's lease goes on: pure. One stage after the other, and none is passed over however late it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# Between the mail that warns and the end of a lease lies at least so much: the mail may have been late.
NOTICE = timedelta(days=1)
# An installation without a bin has one for machines whose lease has ended.
LEAST_IN_BIN = timedelta(days=1)
DAYS, LONGEST_DAYS = 30, 3650
LONGEST_WARN_DAYS = LONGEST_OFF_DAYS = 90


class Demand(StrEnum):
    """Whether machines of a tenant have an expiry date."""

    NONE = "none"
    OPTIONAL = "optional"
    DEMANDED = "demanded"


class Stage(StrEnum):
    """RUNNING: nothing happened yet. ENDED: it is being stopped. KEPT: off, and kept as a snapshot where that went."""

    RUNNING = "running"
    WARNED = "warned"
    ENDED = "ended"
    KEPT = "kept"
    BINNED = "binned"


OVER = frozenset({Stage.ENDED, Stage.KEPT, Stage.BINNED})


@dataclass(frozen=True, slots=True)
class Terms:
    """A tenant's policy: the longest lease, how long before its end it is warned, how long it is off until the bin."""

    demand: Demand = Demand.OPTIONAL
    longest_days: int | None = None
    warn_days: int = 7
    off_days: int = 3


@dataclass(frozen=True, slots=True)
class Lease:
    """`since` is when its stage began: for RUNNING, when its date was set, where that is known."""

    expires_at: datetime
    stage: Stage
    since: datetime | None


def next_at(lease: Lease, terms: Terms) -> datetime | None:
    """When the stage after this one is due; None for the last, which is left to the bin."""
    match lease.stage:
        case Stage.RUNNING:
            return _warning_at(lease, terms)
        case Stage.WARNED:
            return max(lease.expires_at, _since(lease) + NOTICE)
        case Stage.ENDED:
            return _since(lease)
        case Stage.KEPT:
            return _since(lease) + timedelta(days=terms.off_days)
        case Stage.BINNED:
            return None


def _warning_at(lease: Lease, terms: Terms) -> datetime:
    """In its second half, where it is so short that it would be warned at its beginning."""
    at = lease.expires_at - timedelta(days=terms.warn_days)
    if lease.since is None:
        return at
    half = lease.since + (lease.expires_at - lease.since) / 2
    return max(at, min(half, lease.expires_at - NOTICE))


def furthest(terms: Terms, now: datetime) -> datetime:
    """The latest end that a lease may be given now."""
    return now + timedelta(days=terms.longest_days or LONGEST_DAYS)


def usual_end(terms: Terms, now: datetime) -> datetime:
    """The end of a lease for which none was named."""
    return now + timedelta(days=terms.longest_days or DAYS)


def _since(lease: Lease) -> datetime:
    assert lease.since is not None
    return lease.since
