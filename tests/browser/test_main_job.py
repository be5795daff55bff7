"""What a tenant does on the first day, in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def create_by_two_clicks(page: Page) -> str:
    """From the list to a running machine; its name."""
    page.goto("/t/demo/vms/")
    page.get_by_role("link", name="Create VM").first.click()
    name = page.get_by_label("Name").input_value()
    page.get_by_role("button", name="Create VM").click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    return name


def test_two_clicks_make_a_running_machine(sign_in: SignIn, stack: Stack) -> None:
    page = sign_in()
    name = create_by_two_clicks(page)
    expect(page.locator(".status", has_text="running").first).to_be_visible(timeout=60_000)
    (vm,) = [vm for vm in stack.get("/vms?limit=100")["results"] if vm["name"] == name]
    expect(page.get_by_text(f"ssh tiny@{vm['addresses'][0]}").first).to_be_visible()
    page.reload()
    expect(page.locator(".status", has_text="running").first).to_be_visible()
    stack.delete(vm)


def test_steps_are_shown_live_and_survive_a_reload(sign_in: SignIn, stack: Stack) -> None:
    stack.kill("worker")
    stack.start_part("worker", BERTH_TEST_HOLD="before:define")
    page = sign_in()
    name = create_by_two_clicks(page)
    expect(page.locator(".step--running", has_text="Defining the machine")).to_be_visible(timeout=60_000)
    page.reload()
    expect(page.locator(".step--running", has_text="Defining the machine")).to_be_visible()
    expect(page.locator(".step--done", has_text="Making the disk")).to_be_visible()
    stack.kill("worker")
    (stack.data / "held").unlink()
    stack.start_part("worker")
    expect(page.locator(".status", has_text="running").first).to_be_visible(timeout=60_000)
    (vm,) = [vm for vm in stack.get("/vms?limit=100")["results"] if vm["name"] == name]
    stack.delete(vm)


def test_a_change_made_outside_appears_without_a_reload(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    page = sign_in()
    missing: list[str] = []
    page.on("response", lambda answer: missing.append(answer.url) if answer.status == 404 else None)
    page.goto("/t/demo/vms/")
    used = stack.get("/quotas/demo")["used"]["vms"]
    meter = page.locator("#quota-meters .meter", has_text="VMs")
    expect(meter).to_contain_text(f"{used} of")
    row = page.locator("tr", has_text=vm["name"])
    expect(row.locator(".status")).to_have_text(re.compile("running"))
    stack.succeeded("POST", f"/vms/{vm['id']}/actions/pause", {})
    expect(row.locator(".status")).to_have_text(re.compile("paused"), timeout=5_000)
    stack.delete(vm)
    expect(row).to_have_count(0, timeout=10_000)
    expect(meter).to_contain_text(f"{used - 1} of", timeout=10_000)
    assert missing == []


def test_a_machine_is_cloned_by_click(sign_in: SignIn, stack: Stack) -> None:
    """The source shows what is done with it, and is free again without a reload when that has ended."""
    vm = stack.create()
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/settings/")
    page.get_by_label("Name of the new machine").fill("Not A Name")
    page.get_by_role("button", name="Clone").click()
    wrong = page.get_by_label("Name of the new machine")
    expect(wrong).to_be_focused()
    expect(wrong).to_be_in_viewport()
    wrong.fill("twin")
    page.get_by_label("Linked").check()
    page.get_by_role("button", name="Clone").click()
    expect(page.get_by_text("It is being cloned as twin.")).to_be_visible()
    expect(page.get_by_text("Making the disks")).to_be_visible()
    expect(page.get_by_role("link", name="twin")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_enabled()
    page.goto("/t/demo/vms/")
    row = page.locator("tr", has_text="twin")
    expect(row.locator(".status")).to_have_text(re.compile("running"), timeout=10_000)
    (twin,) = (found for found in stack.get("/vms")["results"] if found["name"] == "twin")
    for machine in (twin, vm):
        stack.delete(machine)


def test_typing_into_the_serial_console_is_answered(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/console/")
    page.get_by_role("tab", name="Serial").click()
    screen = page.locator(".xterm-rows")
    page.locator(".xterm-helper-textarea").focus()
    login_through_the_console(page, screen)
    page.keyboard.type("echo $((6*7))-answer\n")
    expect(screen).to_contain_text("42-answer", timeout=20_000)
    stack.delete(vm)


def login_through_the_console(page: Page, screen: object) -> None:
    """The guest may still be booting: press return until it asks who is there."""
    for _ in range(30):
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)
        text = screen.inner_text()  # type: ignore[attr-defined]
        if "login:" in text:
            page.keyboard.type("tiny\n")
            page.wait_for_timeout(1500)
            return
        if "$" in text:
            return
    raise AssertionError(f"no login prompt: {text}")


def test_the_display_shows_the_guest(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/console/")
    expect(page.locator("canvas").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text(re.compile("connected", re.IGNORECASE)).first).to_be_visible()
    lit = """canvas => { const c = document.createElement('canvas'); c.width = canvas.width; c.height = canvas.height;
        const x = c.getContext('2d'); x.drawImage(canvas, 0, 0);
        return x.getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 < 3 && v > 60) }"""
    for _ in range(60):
        if page.locator("canvas").first.evaluate(lit):
            break
        page.wait_for_timeout(500)
    else:
        raise AssertionError("the display stayed black")
    stack.delete(vm)


def test_a_quota_refusal_stands_at_its_field(sign_in: SignIn, stack: Stack) -> None:
    limits = stack.get("/quotas/demo")["limits"]
    page = sign_in()
    page.goto("/t/demo/vms/create/")
    stack.api("PUT", "/quotas/demo", {"vms": 0}, user="admin")
    try:
        page.get_by_role("button", name="Create VM").click()
        expect(page.get_by_text(re.compile("quota reached")).first).to_be_visible()
        assert "/create/" in page.url
    finally:
        stack.api("PUT", "/quotas/demo", limits, user="admin")


def test_delete_wants_the_name_typed(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    page = sign_in()
    page.goto(f"/t/demo/vms/{vm['id']}/settings/")
    button = page.get_by_role("button", name=re.compile("^Delete"))
    expect(button.last).to_be_disabled()
    page.locator("[data-confirm-name]").fill(vm["name"])
    button.last.click()
    expect(page.locator(".table, .empty").first).to_be_visible(timeout=30_000)
    page.goto("/t/demo/vms/")
    expect(page.get_by_role("link", name=vm["name"])).to_have_count(0, timeout=30_000)


def test_a_viewer_sees_no_button_that_works(sign_in: SignIn, stack: Stack) -> None:
    vm = stack.create()
    stack.add_member("viewer", "viewer-password", "demo", "viewer")
    page = sign_in("viewer", password="viewer-password")
    page.goto(f"/t/demo/vms/{vm['id']}/")
    expect(page.get_by_role("heading", name=vm["name"], exact=True)).to_be_visible()
    for label in ("Stop", "Reboot", "Pause"):
        button = page.get_by_role("button", name=label, exact=True)
        if button.count():
            expect(button.first).to_have_attribute("aria-disabled", "true")
    assert page.request.get(f"/t/demo/vms/{vm['id']}/console/").status in (200, 403)
    stack.delete(vm)
