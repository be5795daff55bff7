"""Deleting, looking into the bin, and bringing back; and what is made by the clock."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def delete_in_settings(page: Page, vm_id: str, name: str) -> None:
    page.goto(f"/t/demo/vms/{vm_id}/settings/")
    page.locator("[data-confirm-name]").fill(name)
    page.locator("[data-confirm-submit]").click()
    expect(page.get_by_text("on its way to the bin")).to_be_visible()


def test_delete_the_bin_and_undo(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    page = sign_in()
    delete_in_settings(page, vm["id"], vm["name"])
    expect(page.get_by_role("link", name=vm["name"], exact=True)).to_have_count(0, timeout=60_000)
    page.goto("/t/demo/vms/")
    page.get_by_role("link", name=re.compile(r"^Bin \(")).click()
    row = page.get_by_role("row", name=re.compile(vm["name"]))
    expect(row.get_by_text("in 23 h")).to_be_visible()
    row.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("heading", name=vm["name"], exact=True)).to_be_visible()
    expect(page.locator(".status", has_text="running").first).to_be_visible(timeout=60_000)
    stack.delete(vm)


def test_a_name_that_was_taken_meanwhile_is_asked_for(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    stack.succeeded("DELETE", f"/vms/{vm['id']}")
    heir = stack.create(vm["name"])
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/")
    expect(page.get_by_text("It is in the bin", exact=True)).to_be_visible()
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("Another machine has the name")).to_be_visible()
    page.get_by_label("Name").fill(f"{vm['name']}-2")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator(".status", has_text="running").first).to_be_visible(timeout=60_000)
    stack.delete(vm)
    stack.delete(heir)


def test_for_good(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    stack.succeeded("DELETE", f"/vms/{vm['id']}")
    page = sign_in()
    page.goto("/t/demo/vms/bin/")
    row = page.get_by_role("row", name=re.compile(vm["name"]))
    row.get_by_text("Delete for good").first.click()
    row.get_by_role("button", name="Delete for good now").click()
    expect(page.get_by_role("link", name=vm["name"], exact=True)).to_have_count(0, timeout=60_000)


def test_a_schedule(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/schedules/")
    page.get_by_label("Time zone").fill("Mars/X")
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_text("There is no such time zone")).to_be_visible()
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_role("button", name="Set up").click()
    row = page.get_by_role("row", name=re.compile("snapshot"))
    expect(row.get_by_text("at 03:00, Europe/Berlin")).to_be_visible()
    row.get_by_role("button", name="Pause").click()
    expect(page.locator(".table .status", has_text="paused")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Nothing is done by the clock yet")).to_be_visible()
    stack.delete(vm)
