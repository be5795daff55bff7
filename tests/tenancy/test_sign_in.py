"""Sign-in pages are our own, second factors work through them, sessions end, tokens know where they may come from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.core import mail
from django.template.loader import get_template
from django.test import Client

from portal.accounts import tokens
from portal.events.models import Event
from portal.tenancy import people
from portal.tenancy.gate import actor_for
from tests.world import PASSWORD, Caller, World

ROOT = Path(__file__).parents[2]
ALLAUTH = re.compile(r"(account|mfa|socialaccount)/[a-z_/]+\.html")
PAGES = ("2fa/", "2fa/totp/activate/", "2fa/webauthn/", "2fa/webauthn/add/", "email/", "password/change/", "sso/")


def signed_in(world: World, person: str) -> Client:
    client = Client()
    answer = client.post("/accounts/login/", {"login": person, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def confirmed(world: World, person: str) -> Client:
    """Signed in, and confirmed to be themselves, as what changes the sign-in asks for."""
    client = signed_in(world, person)
    assert client.post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 302
    return client


class TestPages:
    def test_all_templates_are_ours(self) -> None:
        ours = sorted(str(path.relative_to(ROOT / "templates")) for path in (ROOT / "templates").rglob("*.html"))
        names = [name for name in ours if ALLAUTH.fullmatch(name)]
        assert len(names) > 25
        for name in names:
            assert str(get_template(name).origin.name).startswith(str(ROOT)), name

    @pytest.mark.parametrize("page", PAGES)
    def test_each_is_shown_without_allauths_own_look(self, world: World, page: str) -> None:
        answer = confirmed(world, "owner").get(f"/accounts/{page}")
        assert answer.status_code == 200
        used = [template.name for template in answer.templates if template.name]
        assert [name for name in used if name.startswith("allauth/")] == []
        assert re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", answer.content.decode()) == []

    @pytest.mark.parametrize("page", ["login/", "password/reset/", "password/reset/done/", "confirm-email/"])
    def test_those_for_anybody(self, db: None, page: str) -> None:
        assert Client().get(f"/accounts/{page}").status_code == 200

    def test_nobody_signs_up(self, db: None) -> None:
        assert Client().get("/accounts/signup/").status_code == 404


class TestAuthenticatorApp:
    def code(self, secret: str) -> str:
        return format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))

    def test_from_setting_up_to_signing_in(self, world: World) -> None:
        client = confirmed(world, "owner")
        secret = client.get("/accounts/2fa/totp/activate/").context["form"].secret
        assert client.post("/accounts/2fa/totp/activate/", {"code": "000000"}).status_code == 200, "refused"
        answer = client.post("/accounts/2fa/totp/activate/", {"code": self.code(secret)})
        assert answer["Location"] == "/accounts/2fa/recovery-codes/"
        assert client.get(answer["Location"]).status_code == 200
        kept = Authenticator.objects.get(user=world.people["owner"], type="totp").data["secret"]
        assert secret not in kept, "it is encrypted"

        other = Client()
        answer = other.post("/accounts/login/", {"login": "owner", "password": PASSWORD})
        assert answer["Location"].startswith("/accounts/2fa/authenticate/")
        assert other.get("/t/acme/").status_code == 302, "the password alone is not enough"
        assert other.get(answer["Location"]).status_code == 200
        codes = Authenticator.objects.get(user=world.people["owner"], type="recovery_codes").wrap().get_unused_codes()
        assert other.post("/accounts/2fa/authenticate/", {"code": codes[0]}).status_code == 302
        assert other.get("/t/acme/").status_code == 200
        third = signed_in(world, "owner")
        assert third.post("/accounts/2fa/authenticate/", {"code": codes[0]}).status_code == 200, "it works once"


class TestMail:
    def test_an_address_is_proved_by_its_link(self, world: World) -> None:
        client = signed_in(world, "owner")
        client.post("/accounts/email/", {"email": "owner@example.org", "action_add": ""})
        (path,) = re.findall(r"http://[^/]+(/accounts/confirm-email/\S+)", mail.outbox[0].body)
        assert not EmailAddress.objects.get(email="owner@example.org").verified
        client.get(path)
        assert not EmailAddress.objects.get(email="owner@example.org").verified, "looking proves nothing"
        client.post(path)
        assert EmailAddress.objects.get(email="owner@example.org").verified

    def test_a_reset_tells_nobody_who_has_an_account(self, world: World) -> None:
        EmailAddress.objects.create(user=world.people["owner"], email="owner@example.org", verified=True, primary=True)
        answers = [
            Client().post("/accounts/password/reset/", {"email": email}).status_code
            for email in ("owner@example.org", "nobody@example.org")
        ]
        assert answers == [302, 302]
        assert [sent.to for sent in mail.outbox] == [["owner@example.org"]]


class TestSessions:
    def test_another_one_is_ended_from_here(self, world: World) -> None:
        here, there = signed_in(world, "owner"), signed_in(world, "owner")
        page = here.get("/account/sessions/").content.decode()
        (end,) = re.findall(r'action="(/account/sessions/\d+/end/)"', page)
        here.post(end)
        assert there.get("/t/acme/").status_code == 302
        assert here.get("/t/acme/").status_code == 200

    def test_all_others_at_once(self, world: World) -> None:
        here, *others = (signed_in(world, "owner") for _ in range(3))
        here.post("/account/sessions/")
        assert [client.get("/t/acme/").status_code for client in others] == [302, 302]

    def test_who_is_let_out_stays_out(self, world: World) -> None:
        client, admin = signed_in(world, "member"), actor_for(world.people["admin"])
        for active in (False, True):
            people.set_active(actor=admin, user_id=world.people["member"].pk, active=active)
        assert client.get("/t/acme/").status_code == 302, "a session does not come back with the account"


class TestTokensByNetwork:
    @pytest.mark.parametrize(
        ("ranges", "address", "is_good"),
        [
            (["192.0.2.0/24"], "192.0.2.77", True),
            (["192.0.2.0/24"], "192.0.3.1", False),
            (["192.0.2.0/24"], "::ffff:192.0.2.77", True),
            (["2001:db8::/32"], "2001:db8::1", True),
            (["2001:db8::/32"], "192.0.2.1", False),
            (["192.0.2.1"], "", False),
            ([], "", True),
        ],
    )
    def test_known_from_there_only(self, world: World, ranges: list[str], address: str, is_good: bool) -> None:
        _, text = world.token("owner", ip_ranges=ranges)
        assert (tokens.find(text, address) is not None) == is_good

    def test_the_last_use_is_told(self, world: World) -> None:
        _, text = world.token("owner")
        tokens.find(text, "192.0.2.9")
        assert world.people["owner"].api_tokens.get().last_used_from == "192.0.2.9"

    def test_no_header_moves_a_caller(self, world: World) -> None:
        caller = world.caller("owner", ip_ranges=["192.0.2.0/24"])
        assert caller.get("vms", X_Forwarded_For="192.0.2.1", X_Real_IP="192.0.2.1").status_code == 401

    @pytest.mark.parametrize("ranges", [["192.0.2.1/24"], ["mars"], [""], ["0.0.0.0/0"] * 21])
    def test_networks_that_are_none(self, call: Callable[..., Caller], ranges: list[str]) -> None:
        answer = call("owner").post("tokens", {"name": "x", "scopes": ["vm:read"], "ip_ranges": ranges})
        assert answer.status_code == 400

    def test_a_token_makes_none_that_is_good_from_elsewhere(self, world: World) -> None:
        caller = world.caller("owner", ip_ranges=["127.0.0.0/8"])
        wanted = {"name": "x", "scopes": ["vm:read"]}
        assert caller.post("tokens", wanted).json()["ip_ranges"] == ["127.0.0.0/8"], "taken over"
        assert caller.post("tokens", {**wanted, "ip_ranges": ["127.0.0.1"]}).status_code == 201
        assert caller.post("tokens", {**wanted, "ip_ranges": ["0.0.0.0/0"]}).json()["code"] == "token_wider"


class TestTheStaffLooks:
    def told(self, world: World) -> list[str]:
        rows = Event.objects.unscoped("test").filter(kind="vm.seen-by-staff", tenant=world.acme)
        return list(rows.values_list("actor", flat=True))

    def test_the_tenant_reads_it(self, world: World, call: Callable[..., Caller]) -> None:
        path = f"vms/{world.machines['web'].pk}"
        for _ in range(3):
            call("admin").get(path)
        call("auditor").get(path)
        assert sorted(self.told(world)) == ["admin", "auditor"], "once an hour each"
        events = call("owner").get(f"events?tenant=acme&target={world.machines['web'].pk}").json()["results"]
        assert "vm.seen-by-staff" in {event["kind"] for event in events}

    def test_by_pages_as_well(self, world: World) -> None:
        signed_in(world, "admin").get(f"/t/acme/vms/{world.machines['web'].pk}/")
        assert self.told(world) == ["admin"]

    def test_the_tenants_own_are_not_told_of(self, world: World, call: Callable[..., Caller]) -> None:
        call("viewer").get(f"vms/{world.machines['web'].pk}")
        assert self.told(world) == []
