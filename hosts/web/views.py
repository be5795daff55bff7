"""Hosts, as the provider's administrators keep them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.forms import model_to_dict
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hosts import selectors
from hosts.access import Access, access_in
from hosts.models import DEFAULT_CLUSTER, Host, HostState
from hosts.services import hosts as services
from hosts.web import machines, presenters
from hosts.web.forms import AccessForm, HostForm, PolicyForm
from hosts.web.graphs import of_host, span_of
from portal.core.errors import Invalid
from portal.operations import selectors as operations
from portal.operations.services import active_on
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.presenters import operation as present_operation

RECENT = 5


@require_safe
def host_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    page = page_of(request, selectors.hosts(actor))
    used = selectors.claimed_of_each(page.rows)
    rows = [presenters.row(host, used.get(host.pk, {})) for host in page.rows]
    context = {"page": page, "hosts": rows, "may_write": actor.can(Permission.HOST_WRITE)}
    return render(request, "hosts/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def host_add(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    form = HostForm(request.POST or None, initial={"cluster": DEFAULT_CLUSTER})
    _offer_clusters(form, actor)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            wanted = {**form.asked, "cluster": form.asked["cluster"] or DEFAULT_CLUSTER}
            host, _ = services.add_host(actor=actor, access=access_in(**form.given), **wanted)
            return redirect("host-detail", host.name)
    context = {"form": form, "submit": "Add host", "cancel_url": reverse("cluster-list")}
    return render(request, "hosts/add.html", context, status=status_of(form))


@require_http_methods(["GET", "HEAD", "POST"])
def host_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One host with its facts; POST changes its policy, labels, cluster and address for others."""
    actor = actor_of(request)
    host = selectors.host(actor, name)
    now = {**model_to_dict(host, fields=list(PolicyForm.base_fields)), "cluster": host.cluster.slug}
    form = PolicyForm(request.POST or None, initial=now)
    _offer_clusters(form, actor)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            _change(actor, host, form.cleaned_data)
            messages.success(request, "The policy is in force for the next machines.")
            return redirect("host-detail", host.name)
    recent = operations.operations(actor, target=host.pk)[:RECENT]
    context = {
        "form": form,
        "operations": [present_operation.row(each) for each in recent],
        "graphs": of_host(reverse("host-metrics", args=[host.name])),
        **machines.of(request, host),
    }
    return render(request, "hosts/detail.html", {**_context(actor, host), **context}, status=status_of(form))


@transaction.atomic
def _change(actor: Actor, host: Host, wanted: dict[str, Any]) -> None:
    services.set_cluster(actor=actor, host=host, cluster=wanted.pop("cluster") or host.cluster.slug)
    services.set_labels(actor=actor, host=host, labels=wanted.pop("labels"))
    services.set_peer_uri(actor=actor, host=host, uri=wanted.pop("peer_uri"))
    services.set_policy(actor=actor, host=host, **wanted)


def _offer_clusters(form: HostForm | PolicyForm, actor: Actor) -> None:
    clusters = [(cluster.slug, cluster.name) for cluster in selectors.clusters(actor)]
    form.fields["cluster"].choices = clusters or [(DEFAULT_CLUSTER, "Default")]  # type: ignore[attr-defined]


@require_http_methods(["GET", "HEAD", "POST"])
def host_access(request: HttpRequest, name: str) -> HttpResponse:
    """The key or the certificates with which a host is reached, instead of those that there are."""
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    host = selectors.host(actor, name)
    form = AccessForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.set_access(actor=actor, host=host, access=_given(form))
            messages.info(request, "The host is being checked with it.")
            return redirect("host-detail", name)
    context = {"form": form, "host": host, "submit": "Replace", "cancel_url": reverse("host-detail", args=[name])}
    return render(request, "hosts/access.html", context, status=status_of(form))


def _given(form: AccessForm) -> Access:
    access = access_in(**form.given)
    if access is None:
        raise Invalid("Give a key or certificates.")
    return access


@require_safe
def host_fragment(request: HttpRequest, name: str) -> HttpResponse:
    """The part of a host's page that changes by itself."""
    actor = actor_of(request)
    return render(request, "hosts/_live.html", _context(actor, selectors.host(actor, name)))


def _context(actor: Actor, host: Host) -> dict[str, Any]:
    active = active_on("host", host.pk)
    return {
        "host": presenters.page(host, selectors.claimed(host)),
        "operation": present_operation.view(actor, active, list(active.steps.all()), "") if active else None,
        "may_write": actor.can(Permission.HOST_WRITE),
        "why_not": actor.why_not(Permission.HOST_WRITE),
    }


@require_safe
def host_metrics(request: HttpRequest, name: str) -> HttpResponse:
    """JSON: what hosts.metrics.series says, of the `span`."""
    host = selectors.host(actor_of(request), name)
    return JsonResponse(selectors.used_by(host, span_of(request)))


@require_POST
def host_check(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    host = selectors.host(actor, name)
    with refusals_as_notice(request):
        services.preflight(actor=actor, host=host)
        messages.info(request, "The host is being checked.")
    return redirect("host-detail", name)


@require_POST
def host_state(request: HttpRequest, name: str) -> HttpResponse:
    """POST `state`: enabled or cordoned."""
    actor = actor_of(request)
    host = selectors.host(actor, name)
    state = HostState.CORDONED if request.POST.get("state") == HostState.CORDONED else HostState.ENABLED
    with refusals_as_notice(request):
        services.set_state(actor=actor, host=host, state=state)
        is_cordoned = state == HostState.CORDONED
        messages.success(request, "It takes no new machines." if is_cordoned else "It takes machines again.")
    return redirect("host-detail", name)


@require_POST
def host_remove(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    host = selectors.host(actor, name)
    with refusals_as_notice(request):
        services.remove_host(actor=actor, host=host)
        messages.success(request, f"{name} is no host any more. What lies on it stays there.")
        return redirect("cluster-list")
    return redirect("host-detail", name)
