"""The two hosts that the contract is run over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.driver.guests import ECHO, qcow2
from tests.driver.rig import Rig, cleared, prepared
from tests.lab.fixtures import LabHost, lab_host

__all__ = ["lab_host"]

CANDIDATES = ["10.143.7.0/24", "10.143.8.0/24"]


@pytest.fixture
def memory_rig(tmp_path: Path) -> Rig:
    return prepared(f"memory://{uuid4()}", CANDIDATES, tmp_path / "pool", tmp_path)


@pytest.fixture
def kvm_rig(lab_host: LabHost, tmp_path: Path) -> Iterator[Rig]:
    rig = prepared(lab_host.uri, CANDIDATES, lab_host.directory / "pool", tmp_path)
    yield rig
    cleared(rig)


@pytest.fixture(params=["memory", "kvm"])
def rig(request: pytest.FixtureRequest) -> Rig:
    found: Rig = request.getfixturevalue(f"{request.param}_rig")
    return found


@pytest.fixture
def echo_image(tmp_path: Path) -> Path:
    """A bootable qcow2 image of 1 MiB whose guest echoes its serial port and obeys the power key."""
    from hosts.driver.kvm.probe import boot_disk

    return qcow2(tmp_path, boot_disk(ECHO))
