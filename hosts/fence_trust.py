"""Whether a fence agent's word is a proof.

An agent may be another machine's, and a script that fails may end with what means "off". So its word counts once it
has said "on" while the host answered, and for as long as its program, options and password are those that it had then.
One that has said "off" while the host answered is wrong, and stays so until it is set again or its program is another.
"""

from __future__ import annotations

from hosts import fencing
from hosts.connections import driver_for
from hosts.driver.errors import DriverError
from hosts.failure import Power
from hosts.models import FenceAgent, Host, Standing

_WORDS = {
    Standing.RIGHT: "",
    Standing.UNKNOWN: "Its fence agent has not said yet that the host is on while the host answered, so it may be "
    "another machine's: it cuts no power, and its word is no proof.",
    Standing.WRONG: "Its fence agent said that the host is off while the host answered, so it is another machine's, or "
    "broken: until it is set again it cuts no power, and its word is no proof.",
}


def responds(host: Host) -> bool:
    """By libvirt, now."""
    try:
        driver_for(host).list_domains()
    except DriverError:
        return False
    return True


def note(agent: FenceAgent, power: Power, by: str) -> None:
    """It said so, as `by` (fencing.fingerprint), and after that its host answered."""
    found = Standing.RIGHT if power is Power.ON else Standing.WRONG
    rows = FenceAgent.objects.filter(pk=agent.pk).exclude(standing=Standing.WRONG, standing_of=by)
    rows.update(standing=found, standing_of=by)


def standing(agent: FenceAgent) -> Standing:
    """Of what would be run and told now. Raises FencingError where that cannot be read."""
    rows = FenceAgent.objects.filter(pk=agent.pk, standing_of=fencing.fingerprint(agent))
    return Standing(rows.values_list("standing", flat=True).first() or Standing.UNKNOWN)


def why_no_proof(agent: FenceAgent) -> str:
    """For administrators; "" where its word is one. Raises FencingError."""
    return _WORDS[standing(agent)]
