"""Bringing an image with a browser, and making a machine of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import SignIn
from tests.driver.media import bootable_iso
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MIB = 1024**2
PIECE = 8 * MIB


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """Three pieces and a bit."""
    path = tmp_path / "installer-1.0.iso"
    path.write_bytes(bootable_iso() + os.urandom(3 * PIECE))
    return path


def choose(page: Page, path: Path) -> None:
    page.goto("/t/demo/images/add/")
    page.locator("#id_file").set_input_files(path)


def image_of(page: Page) -> str:
    """Of whose page one is."""
    page.wait_for_url(re.compile(r"/t/demo/images/[0-9a-f-]{36}/"), timeout=60_000)
    return page.url.rstrip("/").rpartition("/")[2]


def remove(stack: Stack, image_id: str) -> None:
    wait_until(lambda: stack.get(f"/images/{image_id}")["state"] == "ready", 60, "the image")
    stack.succeeded("DELETE", f"/images/{image_id}")


def test_upload_then_create(sign_in: SignIn, stack: Stack, installer: Path) -> None:
    page = sign_in()
    choose(page, installer)
    expect(page.get_by_label("Name", exact=True).first).to_have_value("installer-1.0")
    expect(page.get_by_label("Format").first).to_have_value("iso")
    page.get_by_role("button", name="Upload", exact=True).click()
    image_id = image_of(page)
    expect(page.locator(".status", has_text="ready").first).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="Share", exact=True)).to_be_enabled()  # the page is anew, not its head alone
    page.get_by_role("link", name="Create VM from it").click()
    expect(page.locator(f"input[name=image][value='{image_id}']")).to_be_checked()
    name = page.get_by_label("Name").input_value()
    page.get_by_role("button", name="Create VM").click()
    expect(page.locator(".status", has_text="stopped").first).to_be_visible(timeout=90_000)  # its guest ends by itself
    page.goto(f"/t/demo/images/{image_id}/")
    expect(page.get_by_text(f"{name} stands on it. It cannot")).to_be_visible()
    expect(page.get_by_role("button", name="Delete", exact=True)).to_have_attribute("aria-disabled", "true")
    (vm,) = [vm for vm in stack.get("/vms?limit=100")["results"] if vm["name"] == name]
    stack.delete(vm)
    remove(stack, image_id)


def test_a_pause_and_a_reload_cost_nothing(sign_in: SignIn, stack: Stack, installer: Path) -> None:
    page = sign_in()
    offsets: list[int] = []

    def slowly(route: Route) -> None:
        if route.request.method == "PATCH":
            offsets.append(int(route.request.headers["upload-offset"]))
            page.wait_for_timeout(300)
        route.continue_()

    page.route("**/api/v1/uploads/*", slowly)
    page.on("dialog", lambda dialog: dialog.accept())
    choose(page, installer)
    page.get_by_role("button", name="Upload", exact=True).click()
    words = page.locator("[data-upload-words]")
    expect(words).to_have_text(re.compile(r"[\d.]+.MiB of 24\.\d.MiB"))
    wait_until(lambda: PIECE in offsets or page.wait_for_timeout(50), 30, "the second piece")
    page.get_by_role("button", name="Pause").click()
    expect(words).to_have_text(re.compile(r"Paused at .+ of 24\.\d.MiB"))
    page.get_by_role("button", name="Continue").click()
    wait_until(lambda: max(offsets) >= 2 * PIECE or page.wait_for_timeout(50), 30, "the third piece")
    page.get_by_role("button", name="Pause").click()
    expect(words).to_have_text(re.compile("Paused"))
    page.reload()
    row = page.locator("tr", has_text="installer-1.0")
    expect(row).to_contain_text(re.compile(r"\d.MiB of 24\.\d.MiB"))
    other = installer.with_name("other.iso")
    other.write_bytes(b"another size")
    row.locator("input[type=file]").set_input_files(other)
    expect(row.get_by_text("This is another file")).to_be_visible()
    row.locator("input[type=file]").set_input_files(installer)
    image_id = image_of(page)
    assert offsets.count(0) == 1  # nothing was begun anew
    remove(stack, image_id)


def test_a_refusal_stands_at_its_field(sign_in: SignIn, stack: Stack, tmp_path: Path) -> None:
    limits = stack.get("/quotas/demo")["limits"]
    page = sign_in()
    (tmp_path / "disk.qcow2").write_bytes(os.urandom(2 * MIB))
    stack.api("PUT", "/quotas/demo", {"image_mib": 1}, user="admin")
    try:
        choose(page, tmp_path / "disk.qcow2")
        page.get_by_role("button", name="Upload", exact=True).click()
        expect(page.locator("[data-upload-error]")).to_contain_text("quota")
    finally:
        stack.api("PUT", "/quotas/demo", limits, user="admin")
    page.get_by_role("button", name="Upload", exact=True).click()  # what is no image is told by the operation
    expect(page.get_by_text("What happened").first).to_be_visible(timeout=60_000)


def test_a_machine_is_published_by_click(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/force-off", {})
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/settings/")
    page.get_by_label("Name of the image").fill("Golden by click")
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.get_by_text("It is being published as Golden by click.")).to_be_visible()
    page.goto("/t/demo/images/")
    row = page.locator("tr", has_text="Golden by click")
    expect(row.locator(".status")).to_have_text("ready", timeout=90_000)
    row.get_by_role("link", name="Golden by click").click()
    image_id = image_of(page)
    page.get_by_role("textbox", name="Tenants").fill("nobody-there")
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page.get_by_text("There is no tenant nobody-there.")).to_be_visible()
    stack.delete(vm)
    remove(stack, image_id)
