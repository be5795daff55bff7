"""What the provider's staff do in a browser: read the audit log, put drift right."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.service.conftest import host  # noqa: F401  the fixture
from tests.service.host import Host
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
FOUND_MS = 90_000  # two comparisons, and a poll


@pytest.fixture
def vm(stack: Stack) -> Iterator[dict[str, str]]:
    vm = stack.create()
    yield vm
    stack.delete(vm)


def test_the_audit_log_is_filtered_and_exported(
    sign_in: SignIn, stack: Stack, vm: dict[str, str], tmp_path: Path
) -> None:
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/pause", {})
    page = sign_in("admin")
    page.goto("/provider/audit/")
    page.get_by_label("Kind").fill("vm.pause")
    page.get_by_label("By whom").fill("demo")
    page.get_by_role("button", name="Show").click()
    rows = page.locator("tbody tr")
    expect(rows.first).to_contain_text(vm["name"])
    kinds = set(rows.locator("th .mono").all_inner_texts())
    assert kinds
    assert all(kind.startswith("vm.pause") for kind in kinds)
    shown = rows.count()
    written = downloaded(page, "CSV", tmp_path)
    table = list(csv.DictReader(written.splitlines()))
    lines = [json.loads(line) for line in downloaded(page, "JSON lines", tmp_path).splitlines()]
    assert len(table) == len(lines) == shown
    assert {row["kind"] for row in table} == {line["kind"] for line in lines} == kinds
    page.get_by_label("By whom").fill("nobody-of-this-name")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing matches")).to_be_visible()


def downloaded(page: Page, link: str, place: Path) -> str:
    with page.expect_download() as download:
        page.get_by_role("link", name=link, exact=True).click()
    path = place / download.value.suggested_filename
    download.value.save_as(path)
    return path.read_text()


def test_a_machine_that_somebody_undefined_is_restored_by_a_click(
    sign_in: SignIn,
    stack: Stack,
    host: Host,  # noqa: F811
    vm: dict[str, str],
) -> None:
    host.virsh("destroy", vm["id"])
    host.virsh("undefine", vm["id"])
    page = sign_in("admin")
    page.goto("/provider/drift/")
    card = page.locator("article", has_text=vm["name"])
    card.get_by_role("button", name="Restore").click(timeout=FOUND_MS)
    wait_until(lambda: vm["id"] in host.domains(), 30, "its definition")
    wait_until(lambda: host.state(vm["id"]) == "running", 30, "the machine to run again")
    wait_until(lambda: stack.get(f"/vms/{vm['id']}")["operation"] is None, 30, "the end of its restoring")
    expect(card).to_have_count(0, timeout=FOUND_MS)


def test_what_is_cleaned_up_is_asked_for_first(
    sign_in: SignIn,
    stack: Stack,
    host: Host,  # noqa: F811
) -> None:
    stray = host.pool_path / f"{uuid4()}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", stray, "1M"], check=True)
    page = sign_in("admin")
    page.goto("/provider/drift/")
    card = page.locator("article", has_text=stray.name)
    card.locator("summary", has_text="Clean up").click(timeout=FOUND_MS)
    assert stray.exists()
    card.get_by_role("button", name="Clean up now").click()
    wait_until(lambda: not stray.exists(), 30, "the end of the file")
    expect(card).to_have_count(0, timeout=FOUND_MS)
