"""axe finds nothing to say on any page, in both themes, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import SignIn
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
TENANT_PAGES = (
    "/t/demo/",
    "/t/demo/vms/",
    "/t/demo/vms/?q=nothing-has-this-name",
    "/t/demo/vms/create/",
    "/t/demo/vms/{vm}/",
    "/t/demo/vms/{vm}/console/",
    "/t/demo/vms/{vm}/metrics/",
    "/t/demo/sizes/",
    "/t/demo/vms/{vm}/activity/",
    "/t/demo/vms/{vm}/settings/",
    "/t/demo/images/",
    "/t/demo/activity/",
    "/t/demo/members/",
    "/t/demo/quota/",
    "/operations/{operation}/",
    "/account/ssh-keys/",
    "/account/tokens/",
    "/accounts/password/change/",
    "/accounts/2fa/",
    "/accounts/email/",
    "/account/sessions/",
    "/t/demo/no-such-page/",
)
PROVIDER_PAGES = (
    "/provider/hosts/",
    "/provider/hosts/local/",
    "/provider/images/",
    "/provider/flavors/",
    "/provider/tenants/",
    "/provider/tenants/demo/",
    "/provider/users/",
    "/provider/quota-requests/",
    "/provider/operations/",
)


@pytest.fixture(scope="module")
def ids(stack: Stack) -> Iterator[dict[str, str]]:
    accepted = stack.succeeded("POST", "/vms", {"name": "axe", "image": "tiny", "flavor": "nano", "tenant": "demo"})
    yield {"vm": accepted["vm"]["id"], "operation": accepted["operation"]["id"]}
    stack.delete(accepted["vm"])


def complaints(page: Page) -> list[str]:
    """What axe says, and whether the page is wider than the window."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    words = [f"{rule['id']}: {node['html'][:160]}" for rule in found for node in rule["nodes"]]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
        words.append("the page scrolls sideways")
    return words


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("user", "pages"), [("demo", TENANT_PAGES), ("admin", PROVIDER_PAGES)])
def test_no_page_gives_axe_cause(
    sign_in: SignIn, ids: dict[str, str], user: str, pages: tuple[str, ...], theme: str, width: int
) -> None:
    page = sign_in(user, theme=theme, width=width)
    found = {}
    for address in pages:
        page.goto(address.format(**ids))
        if words := complaints(page):
            found[address] = words
    assert found == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sign_in_page(chromium: object, stack: Stack, theme: str) -> None:
    context = chromium.new_context(base_url=stack.url, color_scheme=theme)  # type: ignore[attr-defined]
    page = context.new_page()
    page.goto("/")
    assert complaints(page) == []
