"""A real Chromium against the real portal of tests/service."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.lab.fixtures import lab_host  # noqa: F401  fixtures that `stack` needs
from tests.service.conftest import stack  # noqa: F401
from tests.stack import Stack
from tests.tiny import tiny_image  # noqa: F401

SignIn = Callable[..., Page]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Not for longer than this folder's tests: Playwright keeps an event loop running in this thread."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is not installed: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def sign_in(chromium: Browser, stack: Stack) -> Iterator[SignIn]:  # noqa: F811
    """`sign_in("demo", width=390, theme="dark")`: a page of somebody signed in through the form."""
    pages: list[Page] = []
    script_errors: list[str] = []

    def open_page(user: str = "demo", password: str = "", width: int = 1280, theme: str = "light") -> Page:
        context = chromium.new_context(
            base_url=stack.url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
        )
        page = context.new_page()
        pages.append(page)
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: script_errors.append(f"{page.url}: {error}"))
        page.goto("/")
        page.get_by_label("Username").or_(page.get_by_label("Login")).first.fill(user)
        page.get_by_label("Password").fill(password or stack.logins[user])
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url(lambda url: "/accounts/login" not in url)
        return page

    yield open_page
    for page in pages:
        leave(page)
    assert script_errors == []


def leave(page: Page) -> None:
    """Closing its context hangs now and then; the browser's end closes all of them."""
    try:
        page.goto("about:blank")
    except Error:  # the page of a machine that was just deleted was on its own way to somewhere else
        page.wait_for_load_state()
        page.goto("about:blank")
