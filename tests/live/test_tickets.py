"""The console's page and its tickets: who gets one, for what, and under which content security policy."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import requests
from django.conf import settings
from django.utils import timezone

from portal.accounts import tokens
from portal.accounts.models import ApiToken
from portal.tenancy.gate import actor_for
from portal.tenancy.roles import Role
from tests.live import people
from tests.live.machines import GREETING
from tests.live.site import Site
from tests.live.visit import Visit
from vms.models import VM, ConsoleTicket, Power
from vms.services import console

CSRF = "x" * 32


def ask(visit: Visit, session_key: str, kind: str = "display", **changes: Any) -> requests.Response:
    cookies = {settings.SESSION_COOKIE_NAME: session_key, settings.CSRF_COOKIE_NAME: CSRF}
    slug, vm_id = changes.pop("slug", visit.tenant.slug), changes.pop("vm_id", visit.vm.pk)
    headers = {"X-CSRFToken": CSRF, "Origin": visit.site.origin, **changes}
    address = f"{visit.site.origin}/t/{slug}/vms/{vm_id}/console/ticket/"
    return requests.post(address, {"kind": kind}, cookies=cookies, headers=headers, allow_redirects=False, timeout=20)


def session_of(visit: Visit, who: str) -> str:
    if who == "foreign":
        return people.session(people.member(people.tenant(), Role.OWNER))
    if who in ("admin", "auditor"):
        return people.session(people.user(who))
    return people.session(people.member(visit.tenant, Role(who))) if who != "anonymous" else ""


ANSWERS = {"anonymous": 302, "viewer": 403, "member": 200, "owner": 200, "foreign": 404, "admin": 200, "auditor": 403}


@pytest.mark.parametrize("kind", ["display", "serial"])
@pytest.mark.parametrize("who", ANSWERS)
def test_who_gets_a_ticket(site: Site, who: str, kind: str) -> None:
    visit = Visit(site)
    answer = ask(visit, session_of(visit, who), kind)
    assert answer.status_code == ANSWERS[who]
    assert ConsoleTicket.objects.filter(vm=visit.vm).count() == (answer.status_code == 200)


@pytest.mark.parametrize("who", ANSWERS)
def test_who_sees_the_page(site: Site, who: str) -> None:
    visit = Visit(site)
    cookies = {settings.SESSION_COOKIE_NAME: session_of(visit, who)}
    address = f"{site.origin}/t/{visit.tenant.slug}/vms/{visit.vm.pk}/console/"
    answer = requests.get(address, cookies=cookies, allow_redirects=False, timeout=20)
    assert answer.status_code == ANSWERS[who]
    if answer.status_code == 200:
        assert visit.vm.name in answer.text
        policy = answer.headers["Content-Security-Policy"]
        assert "style-src-attr 'unsafe-inline'" in policy
        assert policy.count("unsafe") == 1


def test_a_ticket_opens_the_console(site: Site) -> None:
    visit = Visit(site)
    path = ask(visit, visit.session_key).json()["url"]

    async def play() -> None:
        async with visit.connect("", path=path) as screen:
            assert await screen.recv() == GREETING

    asyncio.run(play())
    ticket = ConsoleTicket.objects.get(vm=visit.vm)
    assert ticket.digest not in path
    assert path.rpartition("/")[2] not in str(vars(ticket))


@pytest.mark.parametrize("kind", ["", "vnc", "DISPLAY", "display\n", "x" * 10_000])
def test_an_unknown_console_is_refused(site: Site, kind: str) -> None:
    visit = Visit(site)
    answer = ask(visit, visit.session_key, kind)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_a_machine_that_is_off_says_so(site: Site) -> None:
    visit = Visit(site)
    VM.objects.unscoped("test").update(observed_power=Power.STOPPED)
    answer = ask(visit, visit.session_key)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert answer.json()["detail"].startswith("Start it first")


def test_only_at_its_own_address(site: Site) -> None:
    visit = Visit(site)
    other = people.tenant()
    visit.person.memberships.create(tenant=other, role=Role.MEMBER)
    assert ask(visit, visit.session_key, slug=other.slug).status_code == 404
    assert ask(visit, visit.session_key, vm_id=uuid4()).status_code == 404


def test_other_sites_cannot_ask_for_one(site: Site) -> None:
    visit = Visit(site)
    for changes in ({"X-CSRFToken": "y" * 32}, {"Origin": "https://evil.example"}):
        assert ask(visit, visit.session_key, **changes).status_code == 403
    assert not ConsoleTicket.objects.filter(vm=visit.vm).exists()


@pytest.mark.parametrize("end", ["revoked", "over"])
def test_a_ticket_ends_with_the_token_that_asked_for_it(site: Site, end: str) -> None:
    visit = Visit(site)
    token, _ = tokens.issue(user=visit.person, name="t", scopes=["*"])
    actor = actor_for(visit.person, token=token)
    secret = console.issue_ticket(actor=actor, vm=visit.vm, kind="serial", token=token)
    ticket = ConsoleTicket.objects.get(digest=console._digest(secret))
    assert console.still_allowed(ticket)
    if end == "revoked":
        token.delete()
    else:
        ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    assert not console.still_allowed(ticket)
    assert console.redeem(secret, user=None, session_key="") is None
