"""What a page shows stays true while parts of the portal come and go."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import SignIn
from tests.service.conftest import host  # noqa: F401  the fixture
from tests.service.host import Host
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
BACK_MS = 30_000


@pytest.fixture
def vm(stack: Stack) -> Iterator[dict[str, str]]:
    vm = stack.create()
    yield vm
    stack.delete(vm)


def list_of(page: Page, stack: Stack, vm: dict[str, str], status: str) -> None:
    """The list of machines, and its stream is open."""
    with page.expect_request(lambda request: "/live/" in request.url):
        page.goto("/t/demo/vms/")
    expect_status(page, vm, status)


def expect_status(page: Page, vm: dict[str, str], status: str, within: int = BACK_MS) -> None:
    row = page.locator("tr", has_text=vm["name"])
    expect(row.locator(".status")).to_have_text(re.compile(status), timeout=within)


def test_what_changed_while_web_was_dead_is_shown_once_it_is_back(
    sign_in: SignIn,
    stack: Stack,
    host: Host,  # noqa: F811
    vm: dict[str, str],
) -> None:
    page = sign_in()
    list_of(page, stack, vm, "running")
    streams: list[Request] = []
    page.on("request", lambda request: streams.append(request) if "/live/" in request.url else None)
    stack.kill("web")
    host.virsh("suspend", vm["id"])
    stack.start_part("web")
    wait_until(stack.is_ready, 60, "web to be back")
    expect_status(page, vm, "paused")
    page.wait_for_timeout(1000)
    assert streams, "the page never opened its stream again"
    host.virsh("resume", vm["id"])
    expect_status(page, vm, "running", 10_000)


def test_what_changed_while_the_browser_was_offline_is_shown_once_it_is_back(
    sign_in: SignIn, stack: Stack, vm: dict[str, str]
) -> None:
    page = sign_in()
    list_of(page, stack, vm, "running")
    page.context.set_offline(True)
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/pause", {})
    page.context.set_offline(False)
    expect_status(page, vm, "paused")


def test_a_tab_that_nobody_saw_catches_up_on_what_it_missed(sign_in: SignIn, stack: Stack, vm: dict[str, str]) -> None:
    """It gives its stream back while it is hidden, and asks from where it was when it is seen again."""
    page = sign_in()
    list_of(page, stack, vm, "running")
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/pause", {})
    expect_status(page, vm, "paused")
    page.wait_for_timeout(2000)  # until all that is under way has come
    see(page, False)
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/resume", {})
    page.wait_for_timeout(1000)
    expect_status(page, vm, "paused", 100)
    with page.expect_request(lambda request: "/live/" in request.url and "since=" in request.url):
        see(page, True)
    expect_status(page, vm, "running", 10_000)


def see(page: Page, seen: bool) -> None:
    """As if its tab were chosen or left; a headless browser has no tabs to choose."""
    page.evaluate(
        """hidden => { Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange")) }""",
        not seen,
    )
