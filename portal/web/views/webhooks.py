"""Webhooks of a tenant, and of the provider."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.tenant import tenant_of
from portal.webhooks import selectors, services
from portal.webhooks.models import Webhook


class WebhookForm(forms.Form):
    url = forms.CharField(
        label="Address",
        max_length=2000,
        widget=forms.URLInput(attrs={"placeholder": "https://billing.example.org/berth"}),
        help_text="https, of a public server.",
    )
    name = forms.CharField(max_length=100, required=False, help_text="Left empty, the name of its server.")
    kinds = forms.CharField(
        max_length=2000, required=False, help_text="Such as “vm quota vm.renamed”. Left empty, it is told everything."
    )

    def clean_kinds(self) -> list[str]:
        return str(self.cleaned_data["kinds"]).replace(",", " ").split()


class RotateForm(forms.Form):
    overlap_hours = forms.TypedChoiceField(
        label="The old secret holds",
        choices=[(24, "for a day"), (1, "for an hour"), (168, "for a week"), (0, "no longer")],
        coerce=int,
    )


class ReplayForm(forms.Form):
    after = forms.IntegerField(label="After sequence", min_value=0, help_text="0 is the beginning of the log.")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def webhook_list(request: HttpRequest, slug: str) -> HttpResponse:
    """POST adds one, and shows its secret in the answer, once."""
    tenant = tenant_of(request, slug, Permission.WEBHOOK_READ)
    return _list(request, tenant, "portal/webhooks.html")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def provider_webhooks(request: HttpRequest) -> HttpResponse:
    """All tenants', and the provider's own, of which POST adds one."""
    actor_of(request).require(Permission.WEBHOOK_READ)
    return _list(request, None, "portal/provider_webhooks.html")


def _list(request: HttpRequest, tenant: Tenant | None, template: str) -> HttpResponse:
    actor, form, secret = actor_of(request), WebhookForm(request.POST or None), ""
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            _, secret = services.create(actor=actor, tenant=tenant, **form.cleaned_data)
            form = WebhookForm()
    page = page_of(request, selectors.webhooks(actor, tenant))
    context = {"tenant": tenant, "page": page, "form": form, "secret": secret, **_may_write(actor, tenant)}
    return render(request, template, context, status=201 if secret else status_of(form))


@require_safe
def webhook_detail(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    return render(request, "portal/webhook.html", _context(request, webhook_id))


@never_cache
@require_POST
def webhook_rotate(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """The answer shows the new secret, once."""
    form, secret = RotateForm(request.POST), ""
    webhook = selectors.webhook(actor_of(request), webhook_id, Permission.WEBHOOK_WRITE)
    if form.is_valid():
        with refusals_in(form):
            _, secret = services.rotate(actor=actor_of(request), webhook=webhook, **form.cleaned_data)
    context = {**_context(request, webhook_id), "rotate_form": form, "secret": secret}
    return render(request, "portal/webhook.html", context, status=201 if secret else status_of(form))


@require_http_methods(["GET", "HEAD", "POST"])
def webhook_change(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    actor = actor_of(request)
    webhook = selectors.webhook(actor, webhook_id, Permission.WEBHOOK_WRITE)
    now = {"url": webhook.url, "name": webhook.name, "kinds": " ".join(webhook.kinds)}
    form = WebhookForm(request.POST or None, initial=now)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            wanted = {**form.cleaned_data, "name": form.cleaned_data["name"] or webhook.name}
            services.change(actor=actor, webhook=webhook, **wanted)
            messages.success(request, "Saved.")
            return redirect("webhook-detail", webhook_id)
    context = {"form": form, "submit": "Save", "cancel_url": reverse("webhook-detail", args=[webhook_id])}
    return render(request, "portal/webhook_change.html", {**context, "webhook": webhook}, status=status_of(form))


@require_POST
def webhook_replay(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    form = ReplayForm(request.POST)
    webhook = selectors.webhook(actor_of(request), webhook_id, Permission.WEBHOOK_WRITE)
    if form.is_valid():
        with refusals_in(form):
            services.replay(actor=actor_of(request), webhook=webhook, **form.cleaned_data)
            messages.success(request, "What came after it is sent again, in order.")
            return redirect("webhook-detail", webhook_id)
    return render(
        request, "portal/webhook.html", {**_context(request, webhook_id), "replay_form": form}, status=status_of(form)
    )


_ACTIONS = {
    "enable": (services.enable, "It goes on where it stopped."),
    "disable": (services.disable, "Nothing is sent until you enable it again."),
    "test": (services.test, "A test is on its way, behind what waits."),
}


@require_POST
def webhook_act(request: HttpRequest, webhook_id: UUID, action: str) -> HttpResponse:
    act, words = _ACTIONS[action]
    webhook = selectors.webhook(actor_of(request), webhook_id, Permission.WEBHOOK_WRITE)
    with refusals_as_notice(request):
        act(actor=actor_of(request), webhook=webhook)
        messages.success(request, words)
    return redirect("webhook-detail", webhook_id)


@require_POST
def webhook_delete(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    webhook = selectors.webhook(actor_of(request), webhook_id, Permission.WEBHOOK_WRITE)
    services.delete(actor=actor_of(request), webhook=webhook)
    messages.success(request, f"Deleted “{webhook.name}”.")
    return redirect(_list_url(webhook))


@require_POST
def webhook_resend(request: HttpRequest, webhook_id: UUID, delivery_id: UUID) -> HttpResponse:
    webhook = selectors.webhook(actor_of(request), webhook_id, Permission.WEBHOOK_WRITE)
    with refusals_as_notice(request):
        delivery = selectors.delivery(webhook, delivery_id)
        services.resend(actor=actor_of(request), webhook=webhook, delivery=delivery)
        messages.success(request, "It is sent once more, with the id it had.")
    return redirect("webhook-detail", webhook_id)


def _context(request: HttpRequest, webhook_id: UUID) -> dict[str, Any]:
    actor = actor_of(request)
    webhook = selectors.webhook(actor, webhook_id)
    if webhook.tenant is not None:
        tenant_of(request, webhook.tenant.slug)
    page = page_of(request, selectors.deliveries(webhook))
    return {
        **{"webhook": webhook, "page": page, "list_url": _list_url(webhook)},
        **{"rotate_form": RotateForm(), "replay_form": ReplayForm(), **_may_write(actor, webhook.tenant)},
    }


def _may_write(actor: Actor, tenant: Tenant | None) -> dict[str, Any]:
    id = tenant.pk if tenant else None
    may = actor.can(Permission.WEBHOOK_WRITE, id)
    return {"may_write": may, "why_not": "" if may else actor.why_not(Permission.WEBHOOK_WRITE, id)}


def _list_url(webhook: Webhook) -> str:
    return reverse("webhook-list", args=[webhook.tenant.slug]) if webhook.tenant else reverse("provider-webhooks")
