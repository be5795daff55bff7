"""The files that libvirt is given for a host's key, and that none outlives its use."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from hosts.access import access_in
from hosts.access_files import connection_uri
from hosts.models import HostAccess
from tests.keys import ssh_access
from tests.world import World, make_host

pytestmark = pytest.mark.django_db


@pytest.fixture
def parent(settings: Any, tmp_path: Path) -> Path:
    found = tmp_path / "access"
    found.mkdir()
    settings.ACCESS_DIR = found
    return found


def opened() -> str:
    """The name of the directory of a new host's key, once it was opened."""
    access = access_in(**ssh_access())
    assert access is not None
    kept = HostAccess.of(access)
    kept.save()
    connection_uri(make_host("two", uri="qemu+ssh://two/system", access=kept))
    return str(kept.pk)


@pytest.mark.parametrize(("seconds", "is_left"), [(10, True), (7200, False), (-7200, False)])
def test_what_a_killed_process_left_is_removed_later(world: World, parent: Path, seconds: float, is_left: bool) -> None:
    """Not at once: it may still be made."""
    left = parent / "tmpkilled"
    left.mkdir()
    (left / "key").write_text("private")
    then = time.time() - seconds
    os.utime(left, (then, then))
    place = opened()
    assert left.exists() is is_left
    assert (parent / place / "key").exists()


def test_what_no_host_has_any_more_is_removed(world: World, parent: Path) -> None:
    first = opened()
    HostAccess.objects.all().delete()
    other = make_host("three")
    kept = HostAccess.of(access_in(**ssh_access()))  # type: ignore[arg-type]
    kept.save()
    other.uri, other.access = "qemu+ssh://three/system", kept
    connection_uri(other)
    assert [path.name for path in parent.iterdir()] == [str(kept.pk)]
    assert first != str(kept.pk)
