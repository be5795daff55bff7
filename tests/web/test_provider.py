"""The provider's pages, members, keys and tokens: what is shown once, and what is refused."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hosts.models import Host
from portal.accounts import tokens
from portal.accounts.models import ApiToken, User
from portal.operations.models import Operation
from portal.operations.services import active_on, cancel
from portal.quotas.models import Quota
from portal.tenancy.gate import actor_for
from portal.tenancy.models import Membership
from tests.web.conftest import Browser
from tests.world import SSH_KEY, World
from vms.models import Flavor


@pytest.fixture
def admin(browser: Browser) -> Client:
    return browser("admin")


def words(answer: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


class TestUsers:
    def test_the_password_is_shown_once_and_works(self, world: World, admin: Client) -> None:
        answer = admin.post("/provider/create-user/", {"username": "newcomer", "email": "n@example.org"})
        password = answer.context["password"]
        assert password in answer.content.decode()
        assert "no-store" in answer["Cache-Control"]
        assert password not in admin.get("/provider/users/").content.decode()
        newcomer = Client()
        newcomer.post("/accounts/login/", {"login": "newcomer", "password": password})
        assert "You belong to no tenant yet" in words(newcomer.get("/"))

    @pytest.mark.parametrize(
        ("field", "value", "says"),
        [
            ("username", "owner", "has this user name already"),
            ("username", "a b", "letters, digits"),
            ("username", "x" * 151, "at most 150"),
            ("email", "nonsense", "no e-mail address"),
            ("provider_role", "emperor", "not one of the available choices"),
        ],
    )
    def test_errors_stand_at_their_fields(self, world: World, admin: Client, field: str, value: str, says: str) -> None:
        before = User.objects.count()
        answer = admin.post("/provider/create-user/", {"username": "newcomer", field: value})
        assert answer.status_code == 422
        assert says in " ".join(answer.context["form"].errors[field])
        assert User.objects.count() == before

    def test_a_disabled_user_is_out_at_once(self, world: World, admin: Client, browser: Browser) -> None:
        owner = browser("owner")
        assert owner.get("/t/acme/").status_code == 200
        admin.post(f"/provider/users/{world.people['owner'].pk}/", {"active": "no"})
        assert owner.get("/t/acme/").status_code == 302
        admin.post(f"/provider/users/{world.people['owner'].pk}/", {"active": "yes"})
        assert owner.get("/t/acme/").status_code == 200

    @pytest.mark.parametrize("change", [{"active": "no"}, {"provider_role": ""}, {"provider_role": "auditor"}])
    def test_the_last_administrator_stays(self, world: World, admin: Client, change: dict[str, str]) -> None:
        answer = admin.post(f"/provider/users/{world.people['admin'].pk}/", change, follow=True)
        assert "One administrator must stay" in words(answer)
        me = User.objects.get(username="admin")
        assert (me.is_active, me.provider_role) == (True, "admin")


class TestTenants:
    def test_create_leads_to_its_page(self, world: World, admin: Client) -> None:
        answer = admin.post("/provider/create-tenant/", {"name": "Gamma", "slug": "gamma"})
        assert answer["Location"] == "/provider/tenants/gamma/"
        assert "Nobody yet" in words(admin.get("/provider/tenants/gamma/"))

    @pytest.mark.parametrize(("slug", "says"), [("acme", "this slug already"), ("No!", "lower-case")])
    def test_errors_stand_at_the_slug(self, world: World, admin: Client, slug: str, says: str) -> None:
        answer = admin.post("/provider/create-tenant/", {"name": "X", "slug": slug})
        assert says in " ".join(answer.context["form"].errors["slug"])

    def test_an_empty_limit_is_none(self, world: World, admin: Client) -> None:
        admin.post("/provider/tenants/acme/", {"vms": "2", "memory_mib": "4096", "disk_gib": "0"})
        assert Quota.objects.get(tenant=world.acme).limits == {
            "vms": 2,
            "vcpus": None,
            "memory_mib": 4096,
            "disk_gib": 0,
            "snapshots": None,
            "image_mib": None,
            "backup_mib": None,
        }
        assert "4, no limit" in words(admin.get("/provider/tenants/acme/"))

    @pytest.mark.parametrize("value", ["-1", "1.5", "many", "99999999999"])
    def test_nonsense_limits_change_nothing(self, world: World, admin: Client, value: str) -> None:
        before = Quota.objects.get(tenant=world.acme).limits
        answer = admin.post("/provider/tenants/acme/", {**before, "vms": value})
        assert answer.status_code == 422
        assert answer.context["form"].errors["vms"]
        assert Quota.objects.get(tenant=world.acme).limits == before


class TestMembers:
    URL = "/t/acme/members/"

    def test_add_change_remove(self, world: World, browser: Browser) -> None:
        owner, foreign = browser("owner"), browser("foreign")
        owner.post(self.URL, {"username": "foreign", "role": "viewer"})
        assert foreign.get("/t/acme/").status_code == 200
        owner.post(self.URL, {"username": "foreign", "role": "member"})
        member = Membership.objects.get(tenant=world.acme, user=world.people["foreign"])
        assert member.role == "member"
        owner.post(f"{self.URL}{member.pk}/remove/")
        assert foreign.get("/t/acme/").status_code == 404

    def test_unknown_people_are_said_at_the_field(self, world: World, browser: Browser) -> None:
        answer = browser("owner").post(self.URL, {"username": "ghost", "role": "viewer"})
        assert "Nobody here has this user name." in answer.context["form"].errors["username"]

    def test_the_last_owner_stays(self, world: World, browser: Browser) -> None:
        owner = browser("owner")
        mine = Membership.objects.get(tenant=world.acme, user=world.people["owner"])
        assert "at least one owner" in words(owner.post(self.URL, {"username": "owner", "role": "viewer"}))
        assert "at least one owner" in words(owner.post(f"{self.URL}{mine.pk}/remove/", follow=True))
        assert Membership.objects.filter(pk=mine.pk, role="owner").exists()

    def test_a_member_of_another_tenant_is_not_removed_here(self, world: World, browser: Browser) -> None:
        theirs = Membership.objects.get(tenant=world.beta)
        assert browser("owner").post(f"{self.URL}{theirs.pk}/remove/").status_code == 404
        assert Membership.objects.filter(pk=theirs.pk).exists()


class TestAccount:
    def test_a_token_is_shown_once_and_works(self, world: World, browser: Browser) -> None:
        owner = browser("owner")
        sent = {"name": "backup", "tenant": str(world.acme.pk), "rights": "read", "days": "30"}
        answer = owner.post("/account/tokens/", sent)
        secret = answer.context["secret"]
        token = tokens.find(secret, "127.0.0.1")
        assert secret in answer.content.decode()
        assert secret not in owner.get("/account/tokens/").content.decode()
        assert token is not None
        assert token.tenant_id == world.acme.pk
        assert all(scope.endswith(":read") for scope in token.scopes)
        assert "no-store" in answer["Cache-Control"]
        owner.post(f"/account/tokens/{token.pk}/revoke/")
        assert tokens.find(secret, "127.0.0.1") is None

    def test_no_token_for_a_foreign_tenant(self, world: World, browser: Browser) -> None:
        sent = {"name": "x", "tenant": str(world.beta.pk), "rights": "full", "days": ""}
        answer = browser("owner").post("/account/tokens/", sent)
        assert answer.status_code == 422
        assert answer.context["form"].errors["tenant"]
        assert ApiToken.objects.count() == 0

    @pytest.mark.parametrize(
        ("key", "says"), [("garbage", "starts with its kind"), ("ssh-rsa AAAA", "cut off"), ("", "required")]
    )
    def test_a_bad_key_is_said_at_the_field(self, world: World, browser: Browser, key: str, says: str) -> None:
        answer = browser("owner").post("/account/ssh-keys/", {"public_key": key})
        assert answer.status_code == 422
        assert says in " ".join(answer.context["form"].errors["public_key"])

    def test_a_key_once(self, world: World, browser: Browser) -> None:
        owner = browser("owner")
        owner.post("/account/ssh-keys/", {"public_key": SSH_KEY})
        again = owner.post("/account/ssh-keys/", {"public_key": SSH_KEY})
        assert "You have added this key already." in again.context["form"].errors["public_key"]


class TestHosts:
    def test_adding_begins_a_check(self, world: World, admin: Client) -> None:
        answer = admin.post("/provider/add-host/", {"name": "two", "uri": "qemu+ssh://two/system"}, follow=True)
        assert active_on("host", Host.objects.get(name="two").pk) is not None
        assert "Booting a trivial guest with each accelerator" in words(answer)

    @pytest.mark.parametrize(
        ("name", "uri", "field"),
        [("one", "qemu:///system", "name"), ("No!", "qemu:///system", "name"), ("two", "http://x", "uri")],
    )
    def test_errors_stand_at_their_fields(self, world: World, admin: Client, name: str, uri: str, field: str) -> None:
        answer = admin.post("/provider/add-host/", {"name": name, "uri": uri})
        assert answer.status_code == 422
        assert answer.context["form"].errors[field]
        assert Host.objects.count() == 1

    def test_policy_changes_the_capacity(self, world: World, admin: Client) -> None:
        sent = {"cpu_ratio": "2", "memory_ratio": "1", "memory_reserved_mib": "0"}
        answer = admin.post("/provider/hosts/one/", sent, follow=True)
        assert "of 128" in words(answer)

    @pytest.mark.parametrize("ratio", ["0", "-1", "1000", "NaN", "many"])
    def test_nonsense_policies_change_nothing(self, world: World, admin: Client, ratio: str) -> None:
        sent = {"cpu_ratio": ratio, "memory_ratio": "1", "memory_reserved_mib": "0"}
        answer = admin.post("/provider/hosts/one/", sent)
        assert answer.status_code == 422
        assert answer.context["form"].errors["cpu_ratio"]
        assert Host.objects.get().cpu_ratio == 8

    def test_the_address_for_other_hosts(self, world: World, admin: Client) -> None:
        sent = {
            "cpu_ratio": "8",
            "memory_ratio": "1",
            "memory_reserved_mib": "0",
            "peer_uri": "qemu+ssh://root@one-b/system",
        }
        assert admin.post("/provider/hosts/one/", sent).status_code == 302
        assert Host.objects.get().uri_for_peers == "qemu+ssh://root@one-b/system"
        assert "one-b" in admin.get("/provider/hosts/one/").content.decode()
        answer = admin.post("/provider/hosts/one/", {**sent, "peer_uri": "test:///default"})
        assert answer.status_code == 422
        assert answer.context["form"].errors["peer_uri"]

    def test_cordon_and_back(self, world: World, admin: Client) -> None:
        assert "cordoned" in words(admin.post("/provider/hosts/one/state/", {"state": "cordoned"}, follow=True))
        assert "Uncordon" in words(admin.get("/provider/hosts/one/"))
        admin.post("/provider/hosts/one/state/", {"state": "enabled"})
        assert Host.objects.get().state == "enabled"

    def test_verdicts_are_told_in_words(self, world: World, admin: Client) -> None:
        Host.objects.update(
            verdicts=[
                {"accelerator": "kvm", "usable": False, "seconds": 8.0, "detail": "guests hang"},
                {"accelerator": "qemu", "usable": True, "seconds": 1.9, "detail": ""},
            ]
        )
        page = words(admin.get("/provider/hosts/one/"))
        assert "KVM does not work 8.0 s guests hang" in page
        assert "Emulation (TCG) works 1.9 s" in page


class TestCatalogue:
    def test_a_size_is_added_and_retired(self, world: World, admin: Client, browser: Browser) -> None:
        sent = {"name": "Huge", "slug": "huge", "vcpus": "8", "memory_mib": "4096", "disk_gib": "40"}
        admin.post("/provider/flavors/", sent)
        assert "Huge" in words(browser("owner").get("/t/acme/vms/create/"))
        admin.post(f"/provider/flavors/{Flavor.objects.get(slug='huge').pk}/", {"active": "no"})
        assert "Huge" not in words(browser("owner").get("/t/acme/vms/create/"))
        assert "retired" in words(admin.get("/provider/flavors/"))

    def test_errors_stand_at_their_fields(self, world: World, admin: Client) -> None:
        sent = {"name": "X", "slug": "small", "vcpus": "1", "memory_mib": "128", "disk_gib": "1"}
        assert admin.post("/provider/flavors/", sent).context["form"].errors["slug"]
        assert admin.post("/provider/flavors/", {**sent, "vcpus": "9999"}).context["form"].errors["vcpus"]

    def test_a_retired_image_is_not_offered(self, world: World, admin: Client, browser: Browser) -> None:
        admin.post(f"/provider/images/{world.image.pk}/", {"active": "no"})
        assert browser("owner").get("/t/acme/vms/create/").context["create"].images == []


class TestOperations:
    def test_filters(self, world: World, admin: Client) -> None:
        for state, found in (("active", 1), ("attention", 0), ("failed", 0), ("", 1), ("nonsense", 1)):
            assert len(admin.get(f"/provider/operations/?state={state}").context["operations"]) == found

    def test_stuck_ones_are_not_overlooked(self, world: World, admin: Client, browser: Browser) -> None:
        Operation.objects.unscoped("test").update(state="stuck")
        operation = Operation.objects.unscoped("test").get()
        page = words(admin.get("/provider/hosts/"))
        assert "An operation needs attention." in page
        assert "needs attention" not in words(browser("viewer").get("/t/acme/activity/"))
        assert "Undo again" in words(admin.get(f"/operations/{operation.pk}/"))
        assert "Undo again" not in words(browser("owner").get(f"/operations/{operation.pk}/"))
        admin.post(f"/operations/{operation.pk}/unwind/")
        operation.refresh_from_db()
        assert operation.state == "unwinding"

    def test_cancel_is_asked_once(self, world: World, browser: Browser) -> None:
        owner = browser("owner")
        operation = Operation.objects.unscoped("test").get()
        page = words(owner.post(f"/operations/{operation.pk}/cancel/", follow=True))
        assert "It stops at the next safe point" in page
        assert "It is being cancelled." in page
        assert "Cancelling…" in page
        assert "Cancelling…" in words(owner.get(f"/t/acme/vms/{operation.target_id}/"))

    def test_a_cancel_that_came_too_late_is_told(self, world: World, browser: Browser) -> None:
        operation = Operation.objects.unscoped("test").get()
        cancel(actor=actor_for(world.people["owner"]), operation=operation)
        Operation.objects.unscoped("test").update(state="succeeded", finished_at=timezone.now())
        page = words(browser("owner").get(f"/operations/{operation.pk}/"))
        assert "It was asked to cancel just now , which was too late" in page
        told = world.caller("owner").get(f"operations/{operation.pk}").json()
        assert (told["status"], told["cancel_requested_at"] is not None) == ("succeeded", True)
