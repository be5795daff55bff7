"""What people do about people: invite and accept, ask for more and approve, sign in with a passkey."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SignIn, leave
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def stranger(chromium: Browser, stack: Stack) -> Iterator[Page]:
    """A browser in which nobody is signed in."""
    page = chromium.new_context(base_url=stack.url).new_page()
    page.set_default_timeout(15_000)
    yield page
    leave(page)


def link_in_mail(stack: Stack, address: str) -> str:
    """The path of the invitation that was sent there: without a mail server, mail lies in files."""
    found: list[str] = []

    def is_there() -> bool:
        for file in Path(stack.data, "mail").glob("*"):
            text = file.read_text().replace("=\n", "")
            if address in text:
                found.extend(re.findall(r"(/invitations/\S+)", text))
        return bool(found)

    wait_until(is_there, 90, "the mail")
    return found[-1]


def test_invite_accept_create(sign_in: SignIn, stranger: Page, stack: Stack) -> None:
    name = f"guest-{secrets.token_hex(3)}"
    owner = sign_in("demo")
    owner.goto("/t/demo/members/")
    owner.get_by_label("E-mail").fill(f"{name}@example.org")
    owner.get_by_role("button", name="Send invitation").click()
    expect(owner.get_by_text(f"An invitation is on its way to {name}@example.org.")).to_be_visible()

    stranger.goto(link_in_mail(stack, f"{name}@example.org"))
    stranger.get_by_label("User name").fill(name)
    stranger.get_by_label("Password").fill("correct horse battery staple")
    stranger.get_by_role("button", name="Create account and join").click()
    stranger.goto("/t/demo/vms/create/")
    stranger.get_by_label("Name", exact=True).fill(name)
    stranger.get_by_role("button", name="Create VM").click()
    wait_until(lambda: bool(machines(stack, name)), 60, "the machine")
    (vm,) = machines(stack, name)
    wait_until(lambda: stack.get(f"/vms/{vm['id']}")["status"] == "running", 90, "it to run")
    stack.delete(vm)


def machines(stack: Stack, name: str) -> list[dict[str, str]]:
    return [vm for vm in stack.get("/vms?tenant=demo")["results"] if vm["name"] == name]


def test_request_quota_approve_create(sign_in: SignIn, stack: Stack) -> None:
    before = stack.get("/quotas/demo")["limits"]
    used = stack.get("/quotas/demo")["used"]["vms"]
    stack.api("PUT", "/quotas/demo", {"vms": used}, user="admin")
    try:
        member = sign_in("demo")
        member.goto("/t/demo/quota/")
        member.get_by_label("VMs").fill(str(used + 1))
        member.get_by_label("Reason").fill("One machine more")
        member.get_by_role("button", name="Ask for more").click()
        expect(member.get_by_text("An administrator answers; you see it here.")).to_be_visible()

        admin = sign_in("admin")
        admin.goto("/provider/quota-requests/?state=pending")
        admin.locator("tbody tr", has_text="One machine more").get_by_role("link").first.click()
        expect(admin.get_by_text("What approving it means")).to_be_visible()
        admin.get_by_role("button", name="Approve").click()
        expect(admin.get_by_text("Approved.")).to_be_visible()

        member.goto("/t/demo/quota/")
        expect(member.locator("tbody tr", has_text="One machine more").first).to_contain_text("approved")
        stack.delete(stack.create())
    finally:
        stack.api("PUT", "/quotas/demo", {"vms": before["vms"]}, user="admin")


def test_a_passkey_signs_in_alone(chromium: Browser, stack: Stack) -> None:
    """At a name: passkeys belong to one, and addresses of digits have none."""
    page = chromium.new_context(base_url=stack.url.replace("127.0.0.1", "localhost")).new_page()
    page.set_default_timeout(15_000)
    page.goto("/")
    page.get_by_label("Username").fill("demo")
    page.get_by_label("Password").fill(stack.logins["demo"])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/accounts/" not in url)
    keys = page.context.new_cdp_session(page)
    keys.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    device = keys.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]
    page.goto("/accounts/2fa/webauthn/add/")
    page.get_by_label("Password").fill(stack.logins["demo"])
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("A passkey").check()
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()

    page.get_by_label("Account: demo").click()
    page.get_by_role("button", name="Sign out").click()
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(lambda url: "/accounts/" not in url)
    expect(page.get_by_label("Account: demo")).to_be_visible()

    page.goto("/accounts/2fa/webauthn/")
    page.get_by_role("link", name="Remove").click()
    page.get_by_label("Password").fill(stack.logins["demo"])
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("button", name="Remove the key").click()
    expect(page.get_by_text("No key yet")).to_be_visible()
    keys.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": device})
    leave(page)
