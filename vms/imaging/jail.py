"""Runs a tool on a hostile file: bounded, without network, as nobody in particular where we are root.

The tool sees its working directory and nothing that only the portal may read; it ends with whoever started it.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

UID = 60_777  # of no user: what runs under it owns the one file it works on
MOST_OUTPUT_BYTES = 1024 * 1024
_LOOK_SECONDS = 0.25
# One heap for all threads: each of its own reserves 64 MiB of the address space, which is bounded
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True)
class Limits:
    """`file_bytes` is the length of the longest file it may write, `wall_seconds` how long it may take in all."""

    cpu_seconds: int
    wall_seconds: float
    memory_bytes: int
    file_bytes: int = 64 * 1024


@dataclass(frozen=True)
class Done:
    """`words` is what the tool said last, for the log; it may quote the file, so nobody else is shown it."""

    code: int
    output: str
    words: str
    is_timeout: bool = False

    @property
    def hit_file_limit(self) -> bool:
        return self.code in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ) or "File too large" in self.words


def give(directory: Path, source: Path) -> None:
    """From now on the jail may read `source` and write into `directory`, where that lies; the portal may anyway."""
    if is_nobody():
        os.chown(directory, UID, UID)
        os.chown(source, UID, UID, follow_symlinks=False)


def run(
    command: Sequence[str], directory: Path, limits: Limits, on_output: Callable[[str], None] = lambda text: None
) -> Done:
    """Until it ends or is ended. `on_output` is called with what it printed since, at least each quarter of a second.

    What `on_output` raises ends the tool and goes on to the caller.
    """
    with tempfile.TemporaryFile() as errors, _running(command, directory, limits, errors) as process:
        output, is_timeout = _follow(process, time.monotonic() + limits.wall_seconds, on_output)
        code = process.wait()
        errors.seek(max(errors.seek(0, os.SEEK_END) - 2000, 0))
        return Done(code, output, errors.read().decode(errors="replace"), is_timeout)


@contextmanager
def _running(
    command: Sequence[str], directory: Path, limits: Limits, errors: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(  # noqa: S603 (no shell, and no word of it comes from outside)
        [*_walls(), *_bounds(limits), *command],
        cwd=directory,
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()  # what it started dies with it (unshare --kill-child, or it is the tool itself)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _follow(process: subprocess.Popen[bytes], deadline: float, on_output: Callable[[str], None]) -> tuple[str, bool]:
    """What it printed, in full up to a bound, and whether it was ended for taking too long."""
    assert process.stdout is not None
    pipe, output = process.stdout.fileno(), bytearray()
    while True:
        ready, _, _ = select.select([pipe], [], [], _LOOK_SECONDS)
        piece = os.read(pipe, 65536) if ready else b""
        on_output(piece.decode(errors="replace"))
        output += piece[: max(MOST_OUTPUT_BYTES - len(output), 0)]
        if ready and not piece:
            return output.decode(errors="replace"), False
        if time.monotonic() > deadline:
            process.kill()
            return output.decode(errors="replace"), True


def _bounds(limits: Limits) -> list[str]:
    return [
        "prlimit",
        f"--cpu={limits.cpu_seconds}",
        f"--as={limits.memory_bytes}",
        f"--fsize={limits.file_bytes}",
        "--core=0",
        "--nofile=64",
        "--stack=1048576",  # of each thread; the tool starts up to 64, and all count as address space
        "--",
    ]


def is_apart() -> bool:
    """Whether tools run without network and among no other processes here."""
    return "unshare" in _walls()


def is_nobody() -> bool:
    """Whether tools run under a user of their own."""
    return "--reuid" in _walls()


@cache
def _walls() -> list[str]:
    """What stands around the tool: the most that works here. A container may have no namespaces to give, nor users."""
    dies_with_us = ["setpriv", "--pdeathsig", "KILL"]
    apart = ["--net", "--ipc", "--pid", "--fork", "--kill-child", "--"]
    nobody = ["--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--bounding-set=-all"]
    bare = [*dies_with_us, "--no-new-privs"]
    choices = [
        [*dies_with_us, "--", "unshare", *apart, *bare, *nobody, "--"],
        [*dies_with_us, "--", "unshare", "--user", "--map-current-user", *apart, *bare, "--"],
        [*bare, *nobody, "--"],
    ]
    return next(filter(_works, choices), [*bare, "--"])


def _works(walls: list[str]) -> bool:
    """With a file of its own, as `give` would hand it over."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            if "--reuid" in walls:
                os.chown(directory, UID, UID)
        except OSError:
            return False
        command = [*walls, shutil.which("touch") or "/usr/bin/touch", "made"]
        return subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode == 0  # noqa: S603
