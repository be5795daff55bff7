"""What is one's own: API tokens and SSH keys."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.accounts.models import ApiToken, SshKey, User
from portal.api.references import tenant_in
from portal.api.serializers import Input, Moment, Text
from portal.api.views import ApiView
from portal.tenancy import credentials, selectors
from portal.tenancy.roles import Permission

_ACCOUNT = {"GET": Permission.ACCOUNT_READ, "POST": Permission.ACCOUNT_WRITE, "DELETE": Permission.ACCOUNT_WRITE}


class TokenIn(Input):
    name = Text(max_length=100)
    scopes = serializers.ListField(
        child=Text(max_length=40), max_length=50, help_text='Permissions such as "vm:read", or "*" for all of yours.'
    )
    tenant = Text(required=False, allow_null=True, help_text="Slug or id of the only tenant it may reach.")
    expires_at = Moment(required=False, allow_null=True)
    ip_ranges = serializers.ListField(
        child=Text(max_length=50),
        max_length=20,
        required=False,
        help_text="Networks that it may be used from; none: any.",
    )


class TokenOut(serializers.Serializer[Any]):
    """A token of the API; its text is told once, when it is made."""

    # Context: `tenants`, slugs by id.
    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="What its text begins with, after “berth_”.")
    scopes = serializers.ListField(child=serializers.CharField())
    tenant = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    last_used_from = serializers.CharField(allow_null=True)
    ip_ranges = serializers.ListField(child=serializers.CharField())

    def get_tenant(self, token: ApiToken) -> str | None:
        slug: str | None = self.context["tenants"].get(token.tenant_id)
        return slug


class NewTokenOut(TokenOut):
    secret = serializers.CharField(
        allow_null=True, help_text="Its text, to be seen only now; null where the answer is replayed."
    )


class Tokens(ApiView):
    permissions = _ACCOUNT
    secrets = ("secret",)

    @extend_schema(responses=TokenOut(many=True))
    def get(self, request: Request) -> Response:
        """Your API tokens, newest first."""
        self.query()
        return self.listed(
            TokenOut(self.page(credentials.tokens_of(self.actor)), many=True, context=_context(self)).data
        )

    @extend_schema(request=TokenIn, responses={201: NewTokenOut})
    def post(self, request: Request) -> Response:
        """A new token, shown once. Made with a token, it can do no more and live no longer than that one."""
        wanted = self.body(TokenIn)
        wanted["tenant"] = tenant_in(self.actor, wanted.get("tenant"), Permission.ACCOUNT_WRITE)
        made_with = request.auth if isinstance(request.auth, ApiToken) else None
        token, secret = credentials.create_token(actor=self.actor, made_with=made_with, **wanted)
        return self.created({**TokenOut(token, context=_context(self)).data, "secret": secret})


class TokenDetail(ApiView):
    permissions = _ACCOUNT

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Revoke it: it is refused from its next call on."""
        credentials.revoke_token(actor=self.actor, token_id=id)
        return Response(status=204)


class SshKeyIn(Input):
    public_key = Text(max_length=8192, help_text='One line, such as "ssh-ed25519 AAAA… you@laptop".')
    name = Text(max_length=100, required=False, allow_blank=True, help_text="Left out, the key's own comment.")


class SshKeyOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    public_key = serializers.CharField()
    fingerprint = serializers.CharField()
    created_at = serializers.DateTimeField()


class SshKeys(ApiView):
    permissions = _ACCOUNT

    @extend_schema(responses=SshKeyOut(many=True))
    def get(self, request: Request) -> Response:
        """Your SSH keys, oldest first."""
        self.query()
        credentials.require_keys(self.actor)
        return self.listed(SshKeyOut(self.page(SshKey.objects.filter(user=_user(self))), many=True).data)

    @extend_schema(request=SshKeyIn, responses={201: SshKeyOut})
    def post(self, request: Request) -> Response:
        """Remember a key; it is offered at each create."""
        key = credentials.add_key(actor=self.actor, **self.body(SshKeyIn))
        return self.created(SshKeyOut(key).data)


class SshKeyDetail(ApiView):
    permissions = _ACCOUNT

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: UUID) -> Response:
        """Forget it; machines that were made with it keep it."""
        credentials.remove_key(actor=self.actor, key_id=id)
        return Response(status=204)


def _user(view: ApiView) -> User:
    assert view.actor.user is not None
    return view.actor.user


def _context(view: ApiView) -> dict[str, Any]:
    return {"tenants": dict(selectors.tenants(view.actor).values_list("pk", "slug"))}
