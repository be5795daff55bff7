"""Fence agents of hosts: which one, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from hosts import fencing
from hosts.models import FenceAgent, Host, Standing
from portal.core import sealed
from portal.core.errors import Invalid
from portal.events import log
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission

LONGEST_PASSWORD = 128


@transaction.atomic
def set_agent(
    *, actor: Actor, host: Host, agent: str, options: Mapping[str, str], password: str | None = None
) -> FenceAgent:
    """One of `fencing.agents`, with options of `fencing.OPTIONS`; "" leaves one out. It is tested within seconds, and
    its word is no proof before it has said that the host is on while the host answers (hosts.fence_trust).

    `password` None keeps the one that it has, unless another program or address would be told it, which might be
    anybody's, or in another way, which anybody might read. Raises Invalid at the field, also where another host has an
    agent that cuts the same power.
    """
    actor.require(Permission.FENCE_WRITE)
    given = {name: value for name, value in options.items() if value != ""}
    _check(agent, given, password)
    _check_it_cuts_no_other(host, agent, given)
    before = FenceAgent.objects.filter(host=host).first()
    is_told_alike = before is not None and (before.agent, _way(before.options)) == (agent, _way(given))
    kept = before.password if before is not None and is_told_alike else ""
    secret = kept if password is None else sealed.seal(password)
    fresh = {"agent": agent, "options": given, "password": secret, "power": "", "problem": "", "tested_at": None}
    fresh |= {"standing": Standing.UNKNOWN, "standing_of": ""}
    made, _ = FenceAgent.objects.update_or_create(host=host, defaults=fresh)
    told = _facts(before) if before else None
    log.record("host.fence-agent-set", actor=actor, target=host, before=told, after=_facts(made))
    return made


@transaction.atomic
def remove_agent(*, actor: Actor, host: Host) -> None:
    """From then on only a person can say that the host is off; no effect where it has none."""
    actor.require(Permission.FENCE_WRITE)
    before = FenceAgent.objects.filter(host=host).first()
    if before is not None:
        before.delete()
        log.record("host.fence-agent-removed", actor=actor, target=host, before=_facts(before))


def _check(agent: str, options: Mapping[str, str], password: str | None) -> None:
    if agent not in fencing.agents():
        words = "This installation allows no such fence agent; its owner puts them into the directory for that."
        raise Invalid(words, code="unknown_reference", field="agent")
    for name, value in options.items():
        if name not in fencing.OPTIONS:
            raise Invalid(f"{name} cannot be given. These can: {', '.join(fencing.OPTIONS)}.", field="options")
        if not fencing.is_option(name, value):
            raise Invalid(f"This is no value for {name}.", field=name)
    if password and (len(password) > LONGEST_PASSWORD or not password.isprintable()):
        raise Invalid(f"Use at most {LONGEST_PASSWORD} characters on one line.", field="password")


def _check_it_cuts_no_other(host: Host, agent: str, options: Mapping[str, str]) -> None:
    """What is told the same cuts the same power. Raises Invalid at the field that is to differ."""
    list(Host.objects.select_for_update().order_by("pk").values_list("pk", flat=True))  # two at once see each other
    for other in FenceAgent.objects.filter(agent=agent).exclude(host=host).select_related("host"):
        if _outlet(other.options) == _outlet(options):
            field = next((name for name in ("plug", "ip") if name in options), "agent")
            words = f"This cuts the power of {other.host.name}: it has the same agent, address and plug."
            raise Invalid(words, code="in_use", field=field)


def _outlet(options: Mapping[str, str]) -> tuple[str, ...]:
    """Whose power is cut."""
    return tuple(options.get(name, "").lower() for name in ("ip", "ipport", "plug"))


def _way(options: Mapping[str, str]) -> tuple[str | None, ...]:
    """Whom the password is told, and how."""
    return tuple(options.get(name) for name in ("ip", "ipport", "username", "ssl", "ssl_insecure", "lanplus", "cipher"))


def _facts(agent: FenceAgent) -> dict[str, Any]:
    """For the log: whether it has a password, and not which."""
    return {"agent": agent.agent, **agent.options, "has_password": bool(agent.password)}
