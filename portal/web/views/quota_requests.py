"""Requests for more, as the provider answers them, and the rule that answers by itself."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from portal.quotas import consequences, requests
from portal.quotas.models import RequestState
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_in, status_of
from portal.web.paging import page_of
from portal.web.presenters import quota_request as present

ANSWERS = {"approve": requests.approve, "refuse": requests.refuse}


class RuleForm(forms.Form):
    is_active = forms.BooleanField(label="Approve small requests automatically", required=False)
    percent = forms.IntegerField(label="By at most (%)", help_text="Of what the limit is without a grant.")
    days = forms.IntegerField(label="For at most (days)")


class AnswerForm(forms.Form):
    answer = forms.CharField(max_length=500, required=False, help_text="The tenant reads it.")


@require_http_methods(["GET", "HEAD", "POST"])
def provider_quota_requests(request: HttpRequest) -> HttpResponse:
    """POST sets the rule. `?state=` filters."""
    actor = actor_of(request)
    actor.require(Permission.HOST_READ)
    rule = requests.rule()
    initial = {"is_active": rule.is_active, "percent": rule.percent, "days": rule.days}
    form = RuleForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            requests.set_rule(actor=actor, **form.cleaned_data)
            messages.success(request, "The rule was changed.")
            return redirect("provider-quota-requests")
    chosen = request.GET.get("state", "")
    state = chosen if chosen in RequestState.values else ""
    page = page_of(request, requests.requests(actor, state=state))
    context = {
        "page": page,
        "requests": present.rows(page.rows),
        "chips": present.chips(state),
        "form": form,
        "may_write": actor.can(Permission.QUOTA_WRITE),
        "why_not": actor.why_not(Permission.QUOTA_WRITE),
    }
    return render(request, "portal/provider_quota_requests.html", context, status=status_of(form))


@require_http_methods(["GET", "HEAD", "POST"])
def provider_quota_request(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """One request with what approving it means. POST `intent` approve or refuse, and `answer`."""
    actor = actor_of(request)
    asked = requests.request(actor, request_id)
    actor.require(Permission.HOST_READ)
    form = AnswerForm(request.POST or None)
    decide = ANSWERS.get(request.POST.get("intent", ""), requests.refuse)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            decide(actor=actor, asked=asked, answer=form.cleaned_data["answer"])
            messages.success(request, f"{asked.get_state_display()}.")
            return redirect("provider-quota-requests")
    context = {
        "asked": asked,
        "row": present.row(asked),
        "consequences": [present.consequence(each) for each in consequences.of(asked)],
        "form": form,
        "may_write": actor.can(Permission.QUOTA_WRITE),
        "why_not": actor.why_not(Permission.QUOTA_WRITE),
    }
    return render(request, "portal/provider_quota_request.html", context, status=status_of(form))
