"""Impatient people: a double click, the back button, a form sent again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SEND_TWICE = "form => { delete form.dataset.once; form.submit(); form.submit() }"


@pytest.fixture
def form(sign_in: SignIn) -> Page:
    page = sign_in()
    page.goto("/t/demo/vms/create/")
    return page


@pytest.fixture
def one_is_made(form: Page, stack: Stack) -> Iterator[None]:
    """What the test does makes one machine by one operation, and says nothing of an error."""
    name = form.get_by_label("Name").input_value()
    before = creates(stack)
    yield
    expect(form.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(form.locator(".status", has_text="running").first).to_be_visible(timeout=60_000)
    (vm,) = [vm for vm in stack.get("/vms?limit=100")["results"] if vm["name"] == name]
    (operation,) = stack.get(f"/operations?target={vm['id']}")["results"]
    assert creates(stack) - before == {operation["id"]}
    stack.delete(vm)


def creates(stack: Stack) -> set[Any]:
    return {each["id"] for each in stack.get("/operations?limit=100")["results"] if each["kind"] == "vm.create"}


def test_a_double_click_creates_once(form: Page, one_is_made: None) -> None:
    form.get_by_role("button", name="Create VM").dblclick()


def test_a_form_sent_twice_without_our_script_creates_once(form: Page, one_is_made: None) -> None:
    form.locator("form", has=form.get_by_role("button", name="Create VM")).evaluate(SEND_TWICE)


def test_going_back_to_a_form_that_was_corrected_shows_it(form: Page, one_is_made: None) -> None:
    """And not the browser's own page about a form that it has to send again."""
    field = form.get_by_label("Name")
    name = field.input_value()
    field.evaluate("input => input.removeAttribute('pattern')")
    field.fill("Not A Name")
    form.get_by_role("button", name="Create VM").click()
    expect(form.locator(".field__error").first).to_be_visible()
    field.fill(name)
    form.get_by_role("button", name="Create VM").click()
    expect(form.get_by_role("heading", name=name, exact=True)).to_be_visible()
    form.go_back()
    expect(form.get_by_role("button", name="Create VM")).to_be_visible()
    form.reload()
    expect(form.get_by_role("button", name="Create VM")).to_be_visible()
    form.goto("/t/demo/vms/")
    form.get_by_role("link", name=name, exact=True).click()


def test_going_back_gives_a_new_form_rather_than_the_one_that_was_sent(form: Page, one_is_made: None) -> None:
    name = form.get_by_label("Name").input_value()
    form.get_by_role("button", name="Create VM").click()
    expect(form.get_by_role("heading", name=name, exact=True)).to_be_visible()
    form.go_back()
    expect(form.get_by_label("Name")).not_to_have_value(name)
    form.go_forward()
