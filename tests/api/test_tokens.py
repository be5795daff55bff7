"""API tokens and SSH keys: one's own, kept as hashes, and never stronger than what made them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from portal.accounts.models import ApiToken
from portal.events.models import Event
from tests.world import SSH_KEY, Caller, World

Api = Callable[..., Caller]


def soon(**more: float) -> str:
    return (timezone.now() + timedelta(**(more or {"hours": 1}))).isoformat()


class TestMaking:
    def test_it_is_shown_once_and_kept_as_a_hash(self, call: Api) -> None:
        body = call("owner").post("tokens", {"name": "backup", "scopes": ["vm:read"]}).json()
        token, secret = ApiToken.objects.get(pk=body["id"]), body["secret"]
        assert secret.startswith(f"berth_{token.prefix}_")
        assert secret.split("_", 2)[2] not in str(ApiToken.objects.filter(pk=token.pk).values())
        listed = call("owner").get("tokens")
        assert secret.split("_", 2)[2] not in listed.content.decode()
        assert Caller(secret).get("vms").status_code == 200
        assert secret not in str(list(Event.objects.unscoped("test").values()))

    def test_scopes_hold(self, world: World, call: Api) -> None:
        body = call("owner").post("tokens", {"name": "reader", "scopes": ["vm:read"]}).json()
        reader = Caller(body["secret"])
        assert reader.get("vms").status_code == 200
        refusal = reader.delete(f"vms/{world.machines['web'].pk}")
        assert (refusal.status_code, refusal.json()["code"]) == (403, "scope_missing")
        assert reader.get("tokens").status_code == 403

    def test_its_end(self, world: World, call: Api) -> None:
        body = call("owner").post("tokens", {"name": "short", "scopes": ["*"], "expires_at": soon()}).json()
        assert Caller(body["secret"]).get("vms").status_code == 200
        ApiToken.objects.filter(pk=body["id"]).update(expires_at=timezone.now())
        assert Caller(body["secret"]).get("vms").status_code == 401

    def test_for_one_tenant(self, world: World, call: Api) -> None:
        body = call("admin").post("tokens", {"name": "acme", "scopes": ["*"], "tenant": "acme"}).json()
        assert body["tenant"] == "acme"
        assert Caller(body["secret"]).get("hosts").status_code == 403
        assert call("owner").post("tokens", {"name": "x", "scopes": ["*"], "tenant": "beta"}).status_code == 400

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"scopes": []}, "scopes"),
            ({"scopes": ["root"]}, "scopes"),
            ({"scopes": ["vm:read", "VM:READ"]}, "scopes"),
            ({"name": " "}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"name": "a\u200bb"}, "name"),
            ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
            ({"expires_at": "0000-00-00"}, "expires_at"),
            ({"expires_at": "10000-01-01T00:00:00Z"}, "expires_at"),
            ({"expires_at": "２０９７-01-01T00:00:00Z"}, "expires_at"),
            ({"expires_at": "2097-W01-1T00:00:00Z"}, "expires_at"),
            ({"expires_at": "2097-01-01T00:00:00"}, "expires_at"),
            ({"expires_at": "2097-01-01"}, "expires_at"),
            ({"user": "admin"}, "user"),
            ({"digest": "x"}, "digest"),
        ],
    )
    def test_bad_input(self, call: Api, change: dict[str, Any], field: str) -> None:
        problem = call("owner").post("tokens", {"name": "a", "scopes": ["*"], **change}).json()
        assert (problem["status"], problem["errors"][0]["field"].split(".")[0]) == (400, field)


class TestNeverStronger:
    @pytest.fixture
    def weak(self, world: World) -> Caller:
        end = timezone.now() + timedelta(days=1)
        scopes = ["vm:read", "account:read", "account:write"]
        return world.caller("owner", scopes=scopes, tenant_id=world.acme.pk, expires_at=end)

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            ({"scopes": ["*"]}, "scopes"),
            ({"scopes": ["vm:read", "vm:write"]}, "scopes"),
            ({"scopes": ["vm:read"], "expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ],
    )
    def test_more_is_refused(self, weak: Caller, wanted: dict[str, Any], field: str) -> None:
        problem = weak.post("tokens", {"name": "more", **wanted}).json()
        assert (problem["status"], problem["code"], problem["errors"][0]["field"]) == (403, "token_wider", field)

    def test_the_rest_of_the_account_is_out_of_reach(self, world: World, weak: Caller, call: Api) -> None:
        other = call("owner").post("tokens", {"name": "wide", "scopes": ["*"]}).json()["id"]
        assert other not in {token["id"] for token in weak.get("tokens").json()["results"]}
        assert weak.delete(f"tokens/{other}").status_code == 404
        for answer in (weak.get("ssh-keys"), weak.post("ssh-keys", {"public_key": SSH_KEY})):
            assert (answer.status_code, answer.json()["code"]) == (403, "token_narrow")

    def test_another_tenant_is_out_of_reach(self, world: World, weak: Caller, call: Api) -> None:
        call("foreign").put("tenants/beta/members/owner", {"role": "owner"})
        answer = weak.post("tokens", {"name": "more", "scopes": ["vm:read"], "tenant": "beta"})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "tenant"

    def test_what_it_does_not_name_it_takes_over(self, world: World, weak: Caller) -> None:
        body = weak.post("tokens", {"name": "same", "scopes": ["vm:read"]}).json()
        token = ApiToken.objects.get(pk=body["id"])
        assert token.tenant_id == world.acme.pk
        assert token.expires_at is not None

    def test_its_rights_are_those_of_its_user_now(self, world: World, call: Api) -> None:
        program = call("member")
        call("owner").put("tenants/acme/members/member", {"role": "viewer"})
        assert program.delete(f"vms/{world.machines['web'].pk}").status_code == 403


class TestUse:
    def test_last_use_is_noted(self, world: World) -> None:
        token, text = world.token("owner")
        assert token.last_used_at is None
        Caller(text).get("vms")
        token.refresh_from_db()
        assert token.last_used_at is not None

    @pytest.mark.parametrize("spoil", [str.upper, lambda text: text[:-1], lambda text: text + "x", str.swapcase])
    def test_a_text_that_is_almost_right(self, world: World, spoil: Callable[[str], str]) -> None:
        assert Caller(spoil(world.token("owner")[1])).get("vms").status_code == 401

    def test_revoked(self, world: World, call: Api) -> None:
        token, text = world.token("owner")
        assert call("owner").delete(f"tokens/{token.pk}").status_code == 204
        assert Caller(text).get("vms").status_code == 401
        assert call("owner").delete(f"tokens/{token.pk}").status_code == 404

    def test_what_was_done_is_in_the_log(self, world: World, call: Api) -> None:
        body = call("owner").post("tokens", {"name": "logged", "scopes": ["*"], "tenant": "acme"}).json()
        call("owner").delete(f"tokens/{body['id']}")
        kinds = [event["kind"] for event in call("owner").get(f"events?target={body['id']}").json()["results"]]
        assert kinds == ["token.revoked", "token.created"]


class TestSshKeys:
    def test_add_list_remove(self, call: Api) -> None:
        body = call("viewer").post("ssh-keys", {"public_key": SSH_KEY}).json()
        assert body["name"] == "me@laptop"
        assert body["fingerprint"].startswith("SHA256:")
        assert [key["id"] for key in call("viewer").get("ssh-keys").json()["results"]] == [body["id"]]
        assert call("owner").get("ssh-keys").json()["results"] == []
        assert call("viewer").post("ssh-keys", {"public_key": SSH_KEY}).json()["code"] == "duplicate"
        assert call("owner").delete(f"ssh-keys/{body['id']}").status_code == 404
        assert call("viewer").delete(f"ssh-keys/{body['id']}").status_code == 204

    def test_a_private_key(self, call: Api) -> None:
        text = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----"
        assert call("owner").post("ssh-keys", {"public_key": text}).json()["code"] == "private_key"
