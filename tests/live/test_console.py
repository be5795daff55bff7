"""The console's bridge: nothing before the handshake is right, bytes both ways after, and an end when it must end."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
import websockets
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone
from websockets.asyncio.client import connect

from portal.tenancy.roles import Role
from tests.live import people
from tests.live.machines import GREETING
from tests.live.site import Site
from tests.live.visit import Visit, closed, never_opened, refused
from tests.world import forget_machines
from vms.models import VM, ConsoleTicket, Lifecycle, Power

# -- the handshake ---------------------------------------------------------------------------------------------------

FOREIGN = [
    "https://evil.example",
    "null",
    None,
    "",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "https://127.0.0.1:{port}",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_only_our_own_pages_connect(site: Site, origin: str | None) -> None:
    visit = Visit(site)
    named = origin.format(port=site.port) if origin else origin
    asyncio.run(refused(visit.connect(visit.ticket(), origin=named)))
    assert never_opened(visit)


def test_a_foreign_host_name_is_refused_with_its_own_origin(site: Site) -> None:
    """DNS rebinding: evil.example resolves to us, and page and Host header agree."""
    visit = Visit(site)
    headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={visit.session_key}"}

    async def play() -> None:
        uri = f"ws://evil.example:{site.port}/ws/console/{visit.ticket()}"
        origin = f"http://evil.example:{site.port}"
        await refused(connect(uri, origin=origin, additional_headers=headers, host="127.0.0.1", port=site.port))

    asyncio.run(play())
    assert never_opened(visit)


def test_a_ticket_opens_once(site: Site) -> None:
    visit = Visit(site)
    secret = visit.ticket()

    async def play() -> None:
        async with visit.connect(secret) as socket:
            assert socket.subprotocol == "binary"
            await refused(visit.connect(secret))

    asyncio.run(play())
    assert site.opened().count(str(visit.vm.pk)) == 1


def test_a_ticket_opens_once_also_when_all_come_at_once(site: Site) -> None:
    visit = Visit(site)
    secret = visit.ticket()

    async def attempt() -> int:
        try:
            async with visit.connect(secret):
                await asyncio.sleep(1)
                return 101
        except websockets.InvalidStatus as error:
            return error.response.status_code

    async def play() -> list[int]:
        return list(await asyncio.gather(*(attempt() for _ in range(10))))

    assert sorted(asyncio.run(play())) == [101, *[403] * 9]


def test_a_ticket_expires(site: Site) -> None:
    visit = Visit(site)
    secret = visit.ticket()
    ConsoleTicket.objects.filter(vm=visit.vm).update(expires_at=timezone.now() - timedelta(seconds=1))
    asyncio.run(refused(visit.connect(secret)))
    assert never_opened(visit)


@pytest.mark.parametrize("session_key", ["", "x" * 32])
def test_a_ticket_is_bound_to_its_session(site: Site, session_key: str) -> None:
    visit = Visit(site)
    asyncio.run(refused(visit.connect(visit.ticket(), session_key=session_key)))
    assert never_opened(visit)


def test_another_session_cannot_use_it(site: Site) -> None:
    """Neither a colleague's nor another one of one's own."""
    visit = Visit(site)
    colleague = people.session(people.member(visit.tenant))
    asyncio.run(refused(visit.connect(visit.ticket(), session_key=colleague)))
    asyncio.run(refused(visit.connect(visit.ticket(), session_key=people.session(visit.person))))
    assert never_opened(visit)


def test_a_right_lost_before_the_handshake_refuses_it(site: Site) -> None:
    visit = Visit(site)
    secret = visit.ticket()
    visit.person.memberships.all().update(role=Role.VIEWER)
    asyncio.run(refused(visit.connect(secret)))
    assert never_opened(visit)


PATHS = [
    "/ws/console/",
    "/ws/console/short",
    f"/ws/console/{'x' * 32}",
    f"/ws/console/{'x' * 32}/",
    "/ws/other",
    "/live/",
]


@pytest.mark.parametrize("path", [*PATHS, "/", f"/ws/console/{'x' * 5000}", "/ws/console/%00" + "x" * 31])
def test_no_other_address_is_a_websocket(site: Site, path: str) -> None:
    asyncio.run(refused(Visit(site).connect("", path=path)))


# -- bytes -----------------------------------------------------------------------------------------------------------


def test_bytes_go_both_ways(site: Site) -> None:
    visit = Visit(site)

    async def play() -> None:
        async with visit.connect(visit.ticket("display")) as screen, visit.connect(visit.ticket()) as serial:
            assert await screen.recv() == GREETING
            await serial.send(b"root\r\x00\xff")
            assert await serial.recv() == b"root\r\x00\xff"
            await serial.send("text as well: é")
            assert await serial.recv() == "text as well: é".encode()

    asyncio.run(play())


def test_a_program_without_a_session_opens_with_its_ticket_alone(site: Site) -> None:
    visit = Visit(site)

    async def play() -> None:
        async with visit.connect(visit.ticket(session_key=""), session_key="", subprotocols=None) as serial:
            assert serial.subprotocol is None
            await serial.send(b"x")
            assert await serial.recv() == b"x"

    asyncio.run(play())


def test_a_large_piece_passes_and_a_larger_one_ends_it(site: Site) -> None:
    visit = Visit(site)

    async def play() -> tuple[int, str]:
        async with visit.connect(visit.ticket()) as serial:
            await serial.send(b"x" * 65536)
            got = 0
            while got < 65536:
                got += len(await serial.recv())
            await serial.send(b"x" * 65537)
            return await closed(serial, 5)

    assert asyncio.run(play())[0] == 1009


def test_a_flood_waits_in_the_machine(site: Site) -> None:
    """A machine writes without end and the browser reads nothing: the portal holds little of it and goes on."""
    visit = Visit(site, on="floods")

    async def play() -> None:
        async with visit.connect(visit.ticket("display"), max_queue=1, compression=None):
            await asyncio.sleep(0.5)
            before = site.memory_kib()
            await asyncio.sleep(3)
            assert site.memory_kib() - before < 20_000
            assert await asyncio.to_thread(site.is_alive)

    asyncio.run(play())


# -- the end ---------------------------------------------------------------------------------------------------------


def lose_membership(visit: Visit) -> None:
    visit.person.memberships.all().delete()


def become_viewer(visit: Visit) -> None:
    visit.person.memberships.all().update(role=Role.VIEWER)


def become_inactive(visit: Visit) -> None:
    type(visit.person).objects.filter(pk=visit.person.pk).update(is_active=False)


def sign_out(visit: Visit) -> None:
    Session.objects.filter(pk=visit.session_key).delete()


def stop(visit: Visit) -> None:
    VM.objects.unscoped("test").filter(pk=visit.vm.pk).update(observed_power=Power.STOPPED)


def begin_delete(visit: Visit) -> None:
    VM.objects.unscoped("test").filter(pk=visit.vm.pk).update(lifecycle=Lifecycle.DELETING)


def delete(visit: Visit) -> None:
    forget_machines(VM.objects.unscoped("test").filter(pk=visit.vm.pk))


def move(visit: Visit) -> None:
    VM.objects.unscoped("test").filter(pk=visit.vm.pk).update(host=people.host("elsewhere"))


ENDS = [
    (lose_membership, 4001),
    (become_viewer, 4001),
    (become_inactive, 4001),
    (sign_out, 4001),
    (begin_delete, 4002),
    (delete, 4002),
    (stop, 4003),
    (move, 4008),
]


@pytest.mark.parametrize(("change", "code"), ENDS, ids=[change.__name__ for change, _ in ENDS])
def test_what_changes_ends_it_within_six_seconds(site: Site, change: Any, code: int) -> None:
    visit = Visit(site)

    async def play() -> tuple[int, str]:
        async with visit.connect(visit.ticket("display")) as screen:
            assert await screen.recv() == GREETING
            change(visit)
            return await closed(screen, 6)

    got, words = asyncio.run(play())
    assert got == code
    assert words.endswith(".")


def test_whoever_opens_the_serial_port_last_has_it(site: Site) -> None:
    visit = Visit(site)

    async def play() -> tuple[int, str]:
        async with visit.connect(visit.ticket()) as first, visit.connect(visit.ticket()) as second:
            end = await closed(first, 6)
            await second.send(b"x")
            assert await second.recv() == b"x"
            return end

    assert asyncio.run(play())[0] == 4004


def test_two_may_look_at_one_screen(site: Site) -> None:
    visit = Visit(site)

    async def play() -> None:
        async with visit.connect(visit.ticket("display")) as first, visit.connect(visit.ticket("display")) as second:
            assert await second.recv() == GREETING == await first.recv()
            await asyncio.sleep(5)
            for screen in (first, second):
                await screen.send(b"x")
                assert await screen.recv() == b"x"

    asyncio.run(play())


def test_nothing_typed_for_long_ends_it(site: Site) -> None:
    visit = Visit(site)

    async def play() -> tuple[int, str]:
        async with visit.connect(visit.ticket("display")) as screen:
            began = time.monotonic()
            end = await closed(screen, 20)
            assert time.monotonic() - began > 8
            return end

    assert asyncio.run(play())[0] == 4005


@pytest.mark.parametrize(("on", "code"), [("ends", 4000), ("off", 4003), ("hangs", 4006), ("remote", 4009)])
def test_what_the_host_does_is_told(site: Site, on: str, code: int) -> None:
    visit = Visit(site, on=on)

    async def play() -> tuple[int, str]:
        async with visit.connect(visit.ticket()) as serial:
            return await closed(serial, 6)

    assert asyncio.run(play())[0] == code


def test_sessions_are_counted_and_forgotten(site: Site) -> None:
    visit, staff = Visit(site), people.session(people.user("auditor"))

    def count() -> float:
        return site.metric("berth_console_sessions", staff)

    async def play() -> None:
        before = await asyncio.to_thread(count)
        async with visit.connect(visit.ticket("display")) as screen:
            await screen.recv()
            assert await asyncio.to_thread(count) == before + 1
        await asyncio.sleep(1)
        assert await asyncio.to_thread(count) == before

    asyncio.run(play())
