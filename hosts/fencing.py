"""Fence agents: programs that cut a host's power from outside, and say whether it is off.

They are called as https://github.com/ClusterLabs/fence-agents describes (FenceAgentAPI): `name=value` lines on standard
input, so no secret stands on a command line, and no shell reads anything. A status ends with 0 for on and 2 for off.

What is in the database chooses, and never says what is run: an agent is one of the programs that the installation's
owner has put into a directory, and of its options only the harmless ones below can be given. Agents know others, by
which they would run scripts or write files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import structlog
from django.conf import settings

from hosts.failure import Power
from hosts.models import FenceAgent
from portal.core import sealed

STATUS_SECONDS, OFF_SECONDS = 20.0, 60.0
_NAME = re.compile(r"fence_[a-z0-9_]{1,50}")
_SWITCH, _NUMBER = re.compile(r"[01]"), re.compile(r"[0-9]{1,5}")
# By name, what each may be: nothing that begins like an option of another program, or has a line of its own.
OPTIONS = {
    "ip": re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}"),
    "ipport": _NUMBER,
    "username": re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"),
    "plug": re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}"),
    "lanplus": _SWITCH,
    "cipher": _NUMBER,
    "privlvl": re.compile(r"administrator|operator|user"),
    "ssl": _SWITCH,
    "ssl_insecure": _SWITCH,
}
# What agents that are known take; others may take any.
_IPMI = ("ip", "ipport", "username", "lanplus", "cipher", "privlvl")
_TAKES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("fence_ipmilan", "fence_idrac", "fence_ilo3", "fence_ilo4", "fence_ilo5", "fence_imm"), _IPMI),
    "fence_redfish": ("ip", "ipport", "username", "plug", "ssl", "ssl_insecure"),
    "fence_lab": ("plug",),
}
_WITHOUT_PASSWORD = frozenset({"fence_lab"})
_ON, _OFF = 0, 2
log = structlog.get_logger(__name__)


class FencingError(Exception):
    """The agent could not do it, or did not tell; the words are for administrators."""


def agents() -> list[str]:
    """The names of the programs that may be chosen."""
    directory = Path(settings.FENCE_AGENTS)
    if not _is_the_owners(directory):
        return []
    try:
        return sorted(path.name for path in directory.iterdir() if _NAME.fullmatch(path.name) and _is_program(path))
    except OSError:
        return []


def options_of(name: str) -> tuple[str, ...]:
    """What that program is asked for in a form, of OPTIONS."""
    return _TAKES.get(name, tuple(OPTIONS))


def takes_password(name: str) -> bool:
    return name not in _WITHOUT_PASSWORD


def fingerprint(agent: FenceAgent) -> str:
    """Of what would be run and told: another program, option or password has another one. Raises FencingError."""
    try:
        program = hashlib.sha256(_program(agent.agent).read_bytes()).hexdigest()
    except OSError as error:
        raise FencingError(f"The fence agent cannot be read: {error.strerror}.") from error
    told = json.dumps([agent.agent, program, agent.options, agent.password], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def power(agent: FenceAgent) -> Power:
    """What it says of the host's power now. Raises FencingError."""
    code = _run(agent, "status", STATUS_SECONDS)
    if code not in (_ON, _OFF):
        raise FencingError(f"The fence agent could not tell whether the host is off (it ended with {code}).")
    return Power.OFF if code == _OFF else Power.ON


def cut_power(agent: FenceAgent) -> None:
    """Done is no proof: ask `power` afterwards. Raises FencingError."""
    if code := _run(agent, "off", OFF_SECONDS):
        raise FencingError(f"The fence agent could not cut the host's power (it ended with {code}).")


def _run(agent: FenceAgent, action: str, seconds: float) -> int:
    began, code = time.monotonic(), None
    try:
        code = _answer(_program(agent.agent), _told(agent, action), seconds)
        return code
    except OSError as error:
        raise FencingError(f"The fence agent could not be run: {error.strerror}.") from error
    finally:
        took = round(time.monotonic() - began, 3)
        log.info("fence agent", host=agent.host.name, agent=agent.agent, action=action, code=code, seconds=took)


def _answer(program: Path, told: str, seconds: float) -> int:
    with subprocess.Popen(  # noqa: S603  one of the owner's programs, without arguments
        [program],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # agents that are asked to be verbose tell secrets
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"},
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            process.communicate(told.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            raise FencingError(f"The fence agent did not end within {seconds:.0f} s.") from None
        finally:
            _end(process)
        return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started, as far as that is still there."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _told(agent: FenceAgent, action: str) -> str:
    try:
        password = sealed.unseal(agent.password)
    except sealed.CannotOpen:
        raise FencingError("The agent's password was sealed with another key. Set it again.") from None
    options = {name: value for name, value in agent.options.items() if is_option(name, value)}
    secret = {"password": password} if password else {}
    return "".join(f"{name}={value}\n" for name, value in {**options, **secret, "action": action}.items())


def is_option(name: str, value: str) -> bool:
    return name in OPTIONS and OPTIONS[name].fullmatch(value) is not None


def _program(name: str) -> Path:
    if name not in agents():
        raise FencingError(f"{name} is none of the fence agents that this installation allows.")
    return Path(settings.FENCE_AGENTS) / name


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK) and _is_the_owners(path)


def _is_the_owners(path: Path) -> bool:
    """Nobody but root and Berth's own user can change it."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_uid in (0, os.getuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
