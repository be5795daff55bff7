"""Invitations into a tenant, leaving one, and handing it over."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.serializers import Choice, Input, Text
from portal.api.tenants import MemberOut
from portal.api.views import ApiView
from portal.tenancy import invitations, selectors, services
from portal.tenancy.roles import Permission, Role


class InvitationIn(Input):
    email = Text(max_length=254)
    role = Choice([role.value for role in Role])


class InvitationOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    email = serializers.CharField()
    role = serializers.ChoiceField(choices=[role.value for role in Role])
    status = serializers.ChoiceField(choices=["open", "accepted", "revoked", "expired"])
    invited_by = serializers.CharField(source="invited_by.username")
    created_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True, help_text="When its mail went out.")
    expires_at = serializers.DateTimeField()


class Invitations(ApiView):
    permissions = {"GET": Permission.MEMBER_WRITE, "POST": Permission.MEMBER_WRITE}

    @extend_schema(responses=InvitationOut(many=True))
    def get(self, request: Request, tenant: str) -> Response:
        """Who was invited, newest first; those that are over as well."""
        found = selectors.tenant(self.actor, tenant, Permission.MEMBER_WRITE)
        self.query()
        return self.listed(InvitationOut(self.page(invitations.invitations(self.actor, found)), many=True).data)

    @extend_schema(request=InvitationIn, responses={201: InvitationOut})
    def post(self, request: Request, tenant: str) -> Response:
        """Offer a role by mail. The link works once, for seven days; the address proves itself by it."""
        found = selectors.tenant(self.actor, tenant, Permission.MEMBER_WRITE)
        invitation = invitations.invite(actor=self.actor, tenant=found, **self.body(InvitationIn))
        return self.created(InvitationOut(invitation).data)


class InvitationDetail(ApiView):
    permissions = {"DELETE": Permission.MEMBER_WRITE}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, tenant: str, id: UUID) -> Response:
        """Revoke it: its link is worth nothing from now on."""
        found = selectors.tenant(self.actor, tenant, Permission.MEMBER_WRITE)
        invitations.revoke(actor=self.actor, tenant=found, invitation_id=id)
        return Response(status=204)


class AcceptIn(Input):
    token = Text(help_text="What the invitation's link ends with.")


class InvitationAccept(ApiView):
    permissions = {"POST": Permission.ACCOUNT_WRITE}

    @extend_schema(request=AcceptIn, responses={201: MemberOut})
    def post(self, request: Request) -> Response:
        """Take an invitation for your own account, once."""
        return self.created(MemberOut(invitations.accept(actor=self.actor, text=self.body(AcceptIn)["token"])).data)


class TenantLeave(ApiView):
    permissions = {"POST": Permission.ACCOUNT_WRITE}

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, tenant: str) -> Response:
        """End your own membership. The last owner stays: 409 `last_owner`."""
        found = selectors.tenant(self.actor, tenant)
        self.body()
        services.leave(actor=self.actor, tenant=found)
        return Response(status=204)


class HandOverIn(Input):
    username = Text(max_length=150, help_text="Another member.")


class TenantHandOver(ApiView):
    permissions = {"POST": Permission.MEMBER_WRITE}

    @extend_schema(request=HandOverIn, responses=MemberOut)
    def post(self, request: Request, tenant: str) -> Response:
        """Make another member owner and become a member yourself. For owners."""
        found = selectors.tenant(self.actor, tenant, Permission.MEMBER_WRITE)
        heir = services.transfer_ownership(actor=self.actor, tenant=found, **self.body(HandOverIn))
        return Response(MemberOut(heir).data)
