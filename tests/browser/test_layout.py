"""Nothing lies over what it should stand above."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.conftest import SignIn
from tests.stack import Stack
from tests.world import SSH_KEY

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
LISTS = {
    "demo": ("/t/demo/vms/", "/t/demo/members/", "/account/ssh-keys/", "/account/tokens/"),
    "admin": (
        "/provider/hosts/local/",
        "/provider/operations/",
        "/provider/tenants/",
        "/provider/tenants/demo/",
        "/provider/users/",
        "/provider/images/",
        "/provider/flavors/",
    ),
}
# Of each table: how many pixels of its first row the head covers, and how many rows it has.
COVERED = """tables => tables.map(table => {
  const heads = [...table.tHead.querySelectorAll("th")].map(head => head.getBoundingClientRect().bottom);
  const first = table.tBodies[0].rows[0].getBoundingClientRect();
  return [Math.round(Math.max(...heads) - first.top), table.tBodies[0].rows.length];
})"""


@pytest.fixture(scope="module", autouse=True)
def rows(stack: Stack) -> Iterator[None]:
    """Each list has something to show."""
    accepted = stack.succeeded("POST", "/vms", {"name": "rows", "image": "tiny", "flavor": "nano", "tenant": "demo"})
    key = stack.api("POST", "/ssh-keys", {"name": "rows", "public_key": SSH_KEY}).json()
    yield
    stack.api("DELETE", f"/ssh-keys/{key['id']}")
    stack.delete(accepted["vm"])


@pytest.mark.parametrize("width", [1280, 800])
@pytest.mark.parametrize("user", list(LISTS))
def test_no_head_of_a_table_covers_its_first_row(sign_in: SignIn, user: str, width: int) -> None:
    page = sign_in(user, width=width)
    for address in LISTS[user]:
        page.goto(address)
        tables = page.locator("table:has(thead)").evaluate_all(COVERED)
        assert tables, f"{address} shows no table"
        for covered, count in tables:
            assert covered <= 1, f"{address} at {width} px: the head covers {covered} px of the first of {count} rows"
