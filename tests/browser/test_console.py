"""The console's page under the hands of somebody who types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def vm(stack: Stack) -> Iterator[dict[str, Any]]:
    made = stack.create("console")
    yield made
    stack.delete(made)


def open_serial(page: Page, vm: dict[str, Any]) -> None:
    page.goto(f"/t/demo/vms/{vm['id']}/console/")
    page.get_by_role("tab", name="Serial").click()
    expect(page.get_by_text(re.compile("Connected"))).to_be_visible(timeout=20_000)


def opened(stack: Stack, vm: dict[str, Any]) -> int:
    events = stack.get(f"/events?target={vm['id']}")["results"]
    return len([event for event in events if event["kind"] == "vm.console-opened"])


def test_keys_go_to_the_machine_after_a_click_on_its_tab(sign_in: SignIn, stack: Stack, vm: dict[str, Any]) -> None:
    page = sign_in()
    open_serial(page, vm)
    before = opened(stack, vm)
    for _ in range(30):
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)
        if re.search(r"login:|\$", page.locator(".xterm-rows").inner_text()):
            break
    else:
        raise AssertionError("Enter did not reach the machine")
    page.get_by_role("tab", name="Serial").click()
    page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    assert opened(stack, vm) == before
    expect(page.locator(".xterm-helper-textarea")).to_be_focused()


def test_the_display_takes_the_keys_when_it_opens(sign_in: SignIn, vm: dict[str, Any]) -> None:
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/console/")
    expect(page.get_by_text(re.compile("Connected"))).to_be_visible(timeout=20_000)
    expect(page.locator("[data-console-screen] canvas")).to_be_focused()


def test_serial_text_can_be_read_on_a_phone(sign_in: SignIn, vm: dict[str, Any]) -> None:
    page = sign_in(width=390)
    open_serial(page, vm)
    size = page.locator(".xterm-rows").evaluate("rows => parseFloat(getComputedStyle(rows).fontSize)")
    assert size >= 12
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
    columns = page.locator("[data-console-screen]").evaluate("screen => screen.scrollWidth > screen.clientWidth")
    assert columns, "what does not fit must be reached by scrolling"


def test_a_stopped_machine_is_started_from_its_console(sign_in: SignIn, stack: Stack, vm: dict[str, Any]) -> None:
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/force-off", {})
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/console/?kind=serial")
    page.locator("[data-console]").get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/console/"))
    expect(page.get_by_text(re.compile("Connected"))).to_be_visible(timeout=60_000)
    expect(page.locator(".xterm-screen")).to_be_visible()
