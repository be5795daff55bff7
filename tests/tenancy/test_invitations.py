"""Invitations: sent, taken once, by whom they are meant for; and every way in which they are refused."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core import mail as outbox
from django.test import Client
from django.utils import timezone

from portal.accounts.models import User
from portal.core.errors import Conflict, Invalid, NotFound, TooMany
from portal.tenancy import invitations, mail, people, services
from portal.tenancy.gate import actor_for
from portal.tenancy.invitations import text_of
from portal.tenancy.models import Invitation, Membership
from tests.web.conftest import browser  # noqa: F401  the fixture
from tests.world import World

PASSWORD = "correct horse battery staple"


def invite(world: World, **wanted: str) -> Invitation:
    actor = actor_for(world.people["owner"])
    return invitations.invite(
        actor=actor, tenant=world.acme, **{"email": "new@example.org", "role": "member", **wanted}
    )


class TestMail:
    def test_the_link_in_it_leads_to_the_invitation(self, world: World, client: Client) -> None:
        invitation = invite(world)
        mail.send_invitation(invitation.pk)
        (sent,) = outbox.outbox
        assert sent.to == ["new@example.org"]
        (path,) = re.findall(r"https?://[^/]+(/invitations/\S+)", sent.body)
        assert "Join Acme" in client.get(path).content.decode()

    def test_it_is_sent_once(self, world: World) -> None:
        invitation = invite(world)
        for _ in range(2):
            mail.send_invitation(invitation.pk)
        assert len(outbox.outbox) == 1
        assert mail.unsent() == []

    def test_what_no_server_took_is_sent_later(self, world: World, settings: object) -> None:
        invitation = invite(world)
        settings.EMAIL_BACKEND = "tests.tenancy.broken_mail.EmailBackend"  # type: ignore[attr-defined]
        mail.send_invitation(invitation.pk)
        Invitation.objects.update(created_at=timezone.now() - timedelta(minutes=5))
        assert mail.unsent() == [invitation.pk]

    def test_what_is_over_is_not_sent(self, world: World) -> None:
        mail.send_invitation(world.invitation(revoked_at=timezone.now()).pk)
        assert outbox.outbox == []


class TestTaking:
    def test_a_new_account_proves_the_address(self, world: World, client: Client) -> None:
        path = f"/invitations/{text_of(invite(world))}/"
        answer = client.post(path, {"username": "newcomer", "password": PASSWORD})
        assert answer.status_code == 302
        user = User.objects.get(username="newcomer")
        assert EmailAddress.objects.get(user=user).verified
        assert Membership.objects.get(user=user).role == "member"
        assert client.get("/t/acme/").status_code == 200, "it is signed in"

    def test_an_account_that_exists(self, world: World, browser: object) -> None:  # noqa: F811
        answer = browser("foreign").post(f"/invitations/{text_of(invite(world, role='billing'))}/")  # type: ignore[operator]
        assert answer["Location"] == "/t/acme/"
        assert Membership.objects.get(user=world.people["foreign"], tenant=world.acme).role == "billing"

    def test_looking_takes_nothing(self, world: World, client: Client) -> None:
        invitation = invite(world)
        client.get(f"/invitations/{text_of(invitation)}/")
        invitation.refresh_from_db()
        assert invitation.status == "open"

    def test_it_cannot_be_replayed(self, world: World) -> None:
        text = text_of(invite(world))
        invitations.accept(actor=actor_for(world.people["foreign"]), text=text)
        with pytest.raises(NotFound):
            invitations.accept(actor=actor_for(world.people["auditor"]), text=text)

    @pytest.mark.parametrize("end", ["revoked_at", "expires_at", "accepted_at"])
    def test_one_that_is_over(self, world: World, end: str) -> None:
        invitation = world.invitation(**{end: timezone.now() - timedelta(seconds=1)})
        with pytest.raises(NotFound):
            invitations.accept(actor=actor_for(world.people["foreign"]), text=text_of(invitation))

    def test_a_text_that_was_made_up(self, world: World, client: Client) -> None:
        good = text_of(invite(world))
        for text in ("x", good[:-1] + ("A" if good[-1] != "A" else "B"), "a:b:c"):
            assert client.get(f"/invitations/{text}/").status_code == 404

    def test_who_belongs_there_keeps_their_role(self, world: World) -> None:
        text = text_of(invite(world, role="viewer"))
        with pytest.raises(Conflict, match="already"):
            invitations.accept(actor=actor_for(world.people["owner"]), text=text)
        assert Membership.objects.get(user=world.people["owner"]).role == "owner"

    def test_an_owner_who_was_removed_cannot_come_back_by_one_of_their_own(self, world: World) -> None:
        text, admin = text_of(invite(world, role="owner")), actor_for(world.people["admin"])
        services.set_member(actor=admin, tenant=world.acme, username="member", role="owner")
        own = Membership.objects.get(user=world.people["owner"], tenant=world.acme)
        services.remove_member(actor=admin, tenant=world.acme, membership_id=own.pk)
        with pytest.raises(NotFound):
            invitations.accept(actor=actor_for(world.people["owner"]), text=text)

    def test_a_tenant_that_is_suspended_lets_nobody_in(self, world: World) -> None:
        text = text_of(invite(world))
        world.acme.suspended_at = timezone.now()
        world.acme.save()
        with pytest.raises(NotFound):
            invitations.find(text)

    @pytest.mark.parametrize(("username", "password"), [("owner", PASSWORD), ("new comer", PASSWORD), ("new", "short")])
    def test_accounts_that_cannot_be_made_leave_it_open(self, world: World, username: str, password: str) -> None:
        invitation = invite(world)
        with pytest.raises((Invalid, Conflict)):
            people.create_invited_user(text=text_of(invitation), username=username, password=password)
        invitation.refresh_from_db()
        assert invitation.status == "open"


class TestSending:
    def test_a_second_one_to_the_same_address_replaces_the_first(self, world: World) -> None:
        first, second = invite(world), invite(world, email="NEW@example.org", role="viewer")
        first.refresh_from_db()
        assert (first.status, second.status) == ("revoked", "open")

    @pytest.mark.parametrize("wanted", [{"email": "nobody"}, {"email": "a@b.c\nBcc: x@y.z"}, {"role": "god"}])
    def test_what_makes_no_sense(self, world: World, wanted: dict[str, str]) -> None:
        with pytest.raises(Invalid):
            invite(world, **wanted)

    def test_not_without_end(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(invitations, "MOST_A_DAY", 2)
        for i in range(2):
            invite(world, email=f"{i}@example.org")
        with pytest.raises(TooMany):
            invite(world)
        assert TooMany.status == 429

    def test_revoking_twice(self, world: World) -> None:
        actor, invitation = actor_for(world.people["owner"]), invite(world)
        invitations.revoke(actor=actor, tenant=world.acme, invitation_id=invitation.pk)
        with pytest.raises(Conflict):
            invitations.revoke(actor=actor, tenant=world.acme, invitation_id=invitation.pk)

    def test_another_tenants_is_not_there(self, world: World) -> None:
        with pytest.raises(NotFound):
            invitations.revoke(
                actor=actor_for(world.people["foreign"]), tenant=world.beta, invitation_id=invite(world).pk
            )


class TestLeaving:
    def test_ends_the_rights(self, world: World) -> None:
        services.leave(actor=actor_for(world.people["member"]), tenant=world.acme)
        assert actor_for(world.people["member"]).memberships == {}

    def test_the_last_owner_stays(self, world: World) -> None:
        with pytest.raises(Conflict, match="owner"):
            services.leave(actor=actor_for(world.people["owner"]), tenant=world.acme)

    def test_handing_over_changes_both(self, world: World) -> None:
        services.transfer_ownership(actor=actor_for(world.people["owner"]), tenant=world.acme, username="viewer")
        roles = dict(Membership.objects.filter(tenant=world.acme).values_list("user__username", "role"))
        assert roles == {"owner": "member", "viewer": "owner", "member": "member"}

    @pytest.mark.parametrize("heir", ["foreign", "owner", "nobody"])
    def test_handing_over_to_nobody(self, world: World, heir: str) -> None:
        with pytest.raises(Invalid):
            services.transfer_ownership(actor=actor_for(world.people["owner"]), tenant=world.acme, username=heir)
