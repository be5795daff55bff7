"""Who belongs to a tenant, and who is invited."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from portal.tenancy import invitations, selectors, services
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission, Role
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.tenant import tenant_of

ROLES = [(role.value, role.label) for role in reversed(Role)]
MOST_SHOWN = 20


class MemberForm(forms.Form):
    username = forms.CharField(label="User name", max_length=150, help_text="Somebody who has an account here.")
    role = forms.ChoiceField(choices=ROLES, initial=Role.MEMBER)


class InvitationForm(forms.Form):
    email = forms.CharField(
        label="E-mail",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text="They get a link that works once, for seven days, with an account that they have or make.",
    )
    role = forms.ChoiceField(choices=ROLES, initial=Role.MEMBER)


@require_http_methods(["GET", "HEAD", "POST"])
def member_list(request: HttpRequest, slug: str) -> HttpResponse:
    """POST invites (`intent=invite`), or adds somebody and changes their role."""
    actor, tenant = actor_of(request), tenant_of(request, slug, Permission.MEMBER_READ)
    is_invitation = request.POST.get("intent") == "invite"
    form = MemberForm(None if is_invitation else request.POST or None)
    invite = InvitationForm(request.POST if is_invitation else None)
    if request.method == "POST" and (done := _change(request, actor, tenant, invite if is_invitation else form)):
        messages.success(request, done)
        return redirect("member-list", slug)
    page = page_of(request, selectors.members(actor, tenant))
    may = actor.can(Permission.MEMBER_WRITE, tenant.pk)
    context = {
        "tenant": tenant,
        "page": page,
        "form": form,
        "invite": invite,
        "invitations": invitations.invitations(actor, tenant)[:MOST_SHOWN] if may else [],
        "may_write": may,
        "own_role": actor.memberships.get(tenant.pk),
        "why_not": "" if may else actor.why_not(Permission.MEMBER_WRITE, tenant.pk),
        "roles": ROLES,
    }
    status = max(status_of(form), status_of(invite))
    return render(request, "portal/members.html", context, status=status)


def _change(request: HttpRequest, actor: Actor, tenant: Tenant, form: forms.Form) -> str:
    """What was done, in words; "" where the form came back."""
    if not form.is_valid():
        return ""
    wanted = form.cleaned_data
    with refusals_in(form):
        if isinstance(form, InvitationForm):
            invitations.invite(actor=actor, tenant=tenant, **wanted)
            return f"An invitation is on its way to {wanted['email']}."
        services.set_member(actor=actor, tenant=tenant, **wanted)
        return f"{wanted['username']} is {Role(wanted['role']).label.lower()} now."
    return ""


@require_POST
def member_remove(request: HttpRequest, slug: str, membership_id: UUID) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug)
    with refusals_as_notice(request):
        services.remove_member(actor=actor, tenant=tenant, membership_id=membership_id)
        messages.success(request, "Removed. Their rights here have ended.")
    return redirect("member-list", slug)


@require_POST
def member_leave(request: HttpRequest, slug: str) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug)
    with refusals_as_notice(request):
        services.leave(actor=actor, tenant=tenant)
        messages.success(request, f"You have left {tenant.name}.")
        return redirect("home")
    return redirect("member-list", slug)


@require_POST
def member_hand_over(request: HttpRequest, slug: str) -> HttpResponse:
    """POST `username`: that member is owner then, and oneself a member."""
    actor, tenant = actor_of(request), tenant_of(request, slug)
    with refusals_as_notice(request):
        heir = request.POST.get("username", "")
        services.transfer_ownership(actor=actor, tenant=tenant, username=heir)
        messages.success(request, f"{heir} is owner now, and you are a member.")
    return redirect("member-list", slug)


@require_POST
def member_sign_in(request: HttpRequest, slug: str) -> HttpResponse:
    """POST `demanded` (yes or no): whether members need a second factor."""
    actor, tenant = actor_of(request), tenant_of(request, slug)
    with refusals_as_notice(request):
        demanded = request.POST.get("demanded") == "yes"
        services.demand_second_factor(actor=actor, tenant=tenant, demanded=demanded)
        messages.success(request, "Changed. It holds from the next request on.")
    return redirect("member-list", slug)


@require_POST
def invitation_revoke(request: HttpRequest, slug: str, invitation_id: UUID) -> HttpResponse:
    actor, tenant = actor_of(request), tenant_of(request, slug)
    with refusals_as_notice(request):
        invitations.revoke(actor=actor, tenant=tenant, invitation_id=invitation_id)
        messages.success(request, "Revoked. Its link is worth nothing now.")
    return redirect("member-list", slug)
