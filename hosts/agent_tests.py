"""Tests of fence agents, now and then, so that one that would not work is known before it is needed.

One of which nothing is known yet is tested more often: its word is no proof until then (hosts.fence_trust).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from hosts import fence_trust, fencing
from hosts.failure import Power
from hosts.models import FenceAgent, Host, Standing
from portal.events import live

EVERY, UNKNOWN_EVERY = timedelta(minutes=10), timedelta(minutes=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


def is_overdue(agent: FenceAgent | None) -> bool:
    if agent is None or agent.tested_at is None:
        return agent is not None
    every = UNKNOWN_EVERY if agent.standing == Standing.UNKNOWN else EVERY
    return abs(timezone.now() - agent.tested_at) >= every


def turn(host: Host) -> tuple[datetime, str]:
    return host.fence_agent.tested_at or _NEVER, host.name


@dataclass(frozen=True, slots=True)
class Tried:
    """What an agent said, by which fingerprint, and whether its host answered after that; or the problem."""

    power: Power | None = None
    by: str = ""
    host_answered: bool = False
    problem: str = ""


def ask(host: Host) -> Tried:
    """A host may have lost its power since it was last seen, so it is asked as well, and after its agent."""
    try:
        by, power = fencing.fingerprint(host.fence_agent), fencing.power(host.fence_agent)
    except fencing.FencingError as error:
        return Tried(problem=str(error))
    return Tried(power, by, host.is_reachable and fence_trust.responds(host))


def note(host: Host, tried: Tried) -> None:
    """For the host's page; and what the test has shown of the agent."""
    agent, problem = host.fence_agent, tried.problem
    if tried.power is not None:
        if tried.host_answered:
            fence_trust.note(agent, tried.power, tried.by)
        problem = _why_no_proof(agent)
    rows = FenceAgent.objects.filter(pk=agent.pk)
    rows = rows.filter(agent=agent.agent, options=agent.options, password=agent.password)  # not set again meanwhile
    rows.update(power=str(tried.power or ""), problem=problem[:300], tested_at=timezone.now())
    live.tell(None, f"host:{host.pk}")


def _why_no_proof(agent: FenceAgent) -> str:
    try:
        return fence_trust.why_no_proof(agent)
    except fencing.FencingError as error:
        return str(error)
