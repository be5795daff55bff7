"""The tree of snapshots: take, return, delete, by the pages alone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]


def take(page: Page, name: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Take a snapshot").click()
    expect(page.get_by_text("The snapshot is being taken.")).to_be_visible()
    row = page.get_by_role("row", name=re.compile(name))
    expect(row.get_by_text("you are here")).to_be_visible(timeout=60_000)


def test_take_return_and_delete(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/disks/")
    expect(page.get_by_text("No snapshot yet")).to_be_visible()
    take(page, "clean")
    expect(page.get_by_role("row", name=re.compile("clean")).get_by_text("1 GiB")).to_be_visible()
    take(page, "configured")
    row = page.get_by_role("row", name=re.compile("clean"))
    row.get_by_role("link", name="Return to it…").click()
    expect(page.get_by_text("It is cut off, its disks are as they were, and it starts again.")).to_be_visible()
    expect(page.get_by_label("Keep what it is now")).to_be_checked()
    page.get_by_role("button", name="Return to it").click()
    expect(page.get_by_text("before a return")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("row", name=re.compile("^clean")).get_by_text("you are here")).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="configured", exact=True).click()
    page.get_by_role("button", name="Delete snapshot").click()
    expect(page.get_by_role("link", name="configured", exact=True)).to_have_count(0, timeout=90_000)
    expect(page.get_by_role("link", name="clean", exact=True)).to_be_visible()
    stack.delete(vm)
