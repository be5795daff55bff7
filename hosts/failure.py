"""Whether a host has failed, by more than one sign. Pure: hosts.suspicion asks the hosts.

One sign is that it does not answer libvirt, for so long as its cluster's policy says. That alone may be a daemon that
hangs above guests that run. So another one must say so too: its address takes no connections, or its fence agent says
that its power is off. The address is asked over the same way as libvirt, so while the agent says that the power is on,
a cable may have been pulled, no more: only an eager cluster takes that for a failure. And where most hosts are silent
at once, it is Berth that is cut off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Power(StrEnum):
    """What a host's fence agent says of it."""

    ON = "on"
    OFF = "off"


class Verdict(StrEnum):
    """SILENT: for too short a time. UNCONFIRMED: there is no second sign that would do. ALIVE: the second sign speaks
    against it. CUT_OFF: so are most others.
    """

    WELL = "well"
    SILENT = "silent"
    UNCONFIRMED = "unconfirmed"
    ALIVE = "alive"
    CUT_OFF = "cut_off"
    SUSPECTED = "suspected"


@dataclass(frozen=True, slots=True)
class Signs:
    """`answers` is whether the host's address takes connections; None, as `power`, where there is nothing to ask.

    `is_proof`: the agent's word is one (hosts.fence_trust).
    """

    silent_seconds: float
    answers: bool | None = None
    power: Power | None = None
    is_proof: bool = True

    @property
    def is_off(self) -> bool:
        """For certain, as far as its agent can tell."""
        return self.power is Power.OFF and self.is_proof


def is_long(silent_seconds: float, after: float) -> bool:
    """Silent for long enough to look for the second sign."""
    return silent_seconds >= after


def judge(signs: Signs, after: float, *, is_eager: bool = False) -> Verdict:
    if not signs.silent_seconds:
        return Verdict.WELL
    if not is_long(signs.silent_seconds, after):
        return Verdict.SILENT
    if signs.answers:  # and where the agent says that it is off, it is another machine's
        return Verdict.ALIVE
    if signs.is_off or (signs.answers is False and (signs.power is not Power.ON or is_eager)):
        return Verdict.SUSPECTED
    return Verdict.UNCONFIRMED


def is_cut_off(silent: Iterable[bool]) -> bool:
    """Of hosts that belong together: more than half of them are silent at once."""
    known = list(silent)
    return sum(known) * 2 > len(known)


def words(verdict: Verdict, signs: Signs) -> str:
    """For administrators; "" where there is nothing to say."""
    silence = f"It has not answered libvirt for {round(signs.silent_seconds)} s"
    return {
        Verdict.WELL: "",
        Verdict.SILENT: "",
        Verdict.UNCONFIRMED: f"{silence}, and {_no_second(signs)}. Look at it.",
        Verdict.ALIVE: f"{silence}, but its address takes connections: it has not failed.{_of_power(signs)}",
        Verdict.CUT_OFF: f"{silence}, and neither do most others. Berth itself may be cut off, so nothing is done.",
        Verdict.SUSPECTED: f"{silence}, and {_second(signs)}.",
    }[verdict]


def _no_second(signs: Signs) -> str:
    if signs.answers is False:
        return (
            "its address takes no connections, but its fence agent says that its power is on: it may be cut off alone"
        )
    if signs.power is Power.OFF:
        return "its fence agent says that its power is off, but that is no proof"
    return "nothing else tells whether it has failed"


def _second(signs: Signs) -> str:
    if signs.is_off:
        return "its fence agent says that its power is off"
    on = ", while its fence agent says that its power is on" if signs.power is Power.ON else ""
    return f"its address takes no connections{on}"


def _of_power(signs: Signs) -> str:
    return " Its fence agent says that it is off: is it that of another machine?" if signs.power is Power.OFF else ""
