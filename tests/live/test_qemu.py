"""The bridge over real QEMU: the display speaks RFB, and a login on the serial port answers."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from hosts.connections import driver_for
from hosts.driver.types import Accelerator, DiskSpec, DomainSpec
from tests.lab.fixtures import LabHost, lab_host  # noqa: F401  the fixture
from tests.live import people
from tests.live.site import Site
from tests.live.visit import Visit, closed
from tests.tiny import tiny_image  # noqa: F401  the fixture
from vms.models import VM

pytestmark = pytest.mark.service
POOL, NETWORK = "console", "default"


@pytest.fixture
def qemu(site: Site, lab_host: LabHost, tiny_image: Path) -> Iterator[Visit]:  # noqa: F811
    """Somebody at a running machine of a real host."""
    host = people.host("lab", uri=lab_host.uri)
    visit = Visit(site, on="lab")
    driver = driver_for(host)
    driver.ensure_pool(POOL, lab_host.directory / "console")
    volume = f"{visit.vm.pk}.qcow2"
    try:
        driver.upload(POOL, volume, tiny_image, "qcow2")
        driver.define(spec(visit.vm, volume))
        driver.start(visit.vm.pk)
        yield visit
    finally:
        driver.destroy(visit.vm.pk)
        driver.undefine(visit.vm.pk)
        driver.delete_volume(POOL, volume)


def spec(vm: VM, volume: str) -> DomainSpec:
    return DomainSpec(
        uuid=vm.pk,
        name=vm.domain_name,
        title=vm.name,
        vcpus=1,
        memory_mib=96,
        accelerator=Accelerator.TCG,
        cpu_model="qemu64",
        disks=(DiskSpec(POOL, volume, "vda"),),
    )


def at(visit: Visit, kind: str) -> connect:
    return visit.connect(visit.ticket(kind))


async def read_until(socket: ClientConnection, pattern: bytes, seconds: float) -> bytes:
    seen = b""
    async with asyncio.timeout(seconds):
        while not re.search(pattern, seen):
            piece = await socket.recv()
            assert isinstance(piece, bytes)
            seen += piece
    return seen


def test_the_display_speaks_rfb(qemu: Visit) -> None:
    async def play() -> None:
        async with at(qemu, "display") as screen:
            assert (await read_until(screen, rb"\n", 5)).startswith(b"RFB 003.")
            await screen.send(b"RFB 003.008\n")
            assert await read_until(screen, rb"^\x01\x01", 5)  # one security type: none

    asyncio.run(play())


def test_a_login_on_the_serial_port_answers(qemu: Visit) -> None:
    async def play() -> None:
        async with at(qemu, "serial") as serial:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                await serial.send(b"\r")
                try:
                    await read_until(serial, rb"login: ", 3)
                    return
                except TimeoutError:
                    continue
            raise AssertionError("no login on the serial port")

    asyncio.run(play())


def test_cut_power_ends_it_and_a_new_ticket_opens_it_again(qemu: Visit) -> None:
    async def play() -> int:
        async with at(qemu, "display") as screen:
            await read_until(screen, rb"\n", 5)
            await asyncio.to_thread(driver_for(qemu.vm.host).destroy, qemu.vm.pk)
            code, _ = await closed(screen, 6)
        await asyncio.to_thread(driver_for(qemu.vm.host).start, qemu.vm.pk)
        async with at(qemu, "display") as screen:
            await read_until(screen, rb"^RFB", 5)
        return code

    assert asyncio.run(play()) in (4000, 4003)
