"""One real portal for the session, over a private libvirt host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fixtures import LabHost, lab_host  # noqa: F401  the fixture
from tests.service.host import Host
from tests.stack import Stack, running
from tests.tiny import tiny_image  # noqa: F401  the fixture


@pytest.fixture(scope="session")
def stack(lab_host: LabHost, tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:  # noqa: F811
    data = tmp_path_factory.mktemp("portal")
    portal = Stack(data=data, libvirt_uri=lab_host.uri, pool_path=lab_host.directory / "pool", tiny=tiny_image)
    with running(portal):
        yield portal


@pytest.fixture
def host(stack: Stack, lab_host: LabHost) -> Host:  # noqa: F811
    return Host(stack.libvirt_uri, stack.pool_path, lab_host.netns)
