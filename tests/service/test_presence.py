"""Every part of the portal can be seen to live, by the lock that a restore asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stack import PARTS, Stack

pytestmark = [pytest.mark.service]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_holds_the_lock_for_as_long_as_it_lives(stack: Stack, part: str) -> None:
    process = stack.parts[part]
    open_files = {path.readlink() for path in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert stack.data / "parts.lock" in open_files
