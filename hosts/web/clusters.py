"""Clusters, as the provider's administrators keep them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.forms import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hosts import selectors, spare
from hosts.map import standings
from hosts.models import Cluster, Convergence, Failover, Spread
from hosts.services import clusters as services
from hosts.web import map as drawn
from hosts.web import placement
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of
from portal.web.tenant import tenant_of

RATIOS = {"guaranteed_ratio": "guaranteed", "burstable_ratio": "burstable", "best_effort_ratio": "best-effort"}


def _ratio(name: str, empty: str) -> forms.DecimalField:
    words = f"At most so many vCPUs of that class on one CPU of a host. {empty}"
    return forms.DecimalField(
        label=f"Over-commit ratio: {name}", max_digits=5, decimal_places=2, min_value=1, required=False, help_text=words
    )


class ClusterForm(forms.Form):
    name = forms.CharField(max_length=100)
    spread = forms.ChoiceField(
        label="Placement",
        choices=Spread.choices,
        initial=Spread.SPREAD,
        help_text="Spreading leaves each host room to spare; packing leaves whole hosts empty.",
    )
    guaranteed_ratio = _ratio("guaranteed", "Empty: two, by its floor of 50 %.")
    burstable_ratio = _ratio("burstable", "Empty: as the host's own ratio says.")
    best_effort_ratio = _ratio("best effort", "Empty: only the host's own ratio counts.")
    failure_reserve = forms.IntegerField(
        label="Hosts kept free for failures",
        min_value=0,
        initial=0,
        help_text="How many hosts may fail at once and have all their machines started elsewhere. 0 keeps nothing.",
    )
    failover = forms.ChoiceField(
        label="When a host fails",
        choices=Failover.choices,
        initial=Failover.OFF,
        help_text="Machines on shared storage start elsewhere, once it is certain that the host is off.",
    )
    failover_after = forms.IntegerField(
        label="Seconds of silence before a host is suspected",
        initial=120,
        help_text="A second sign must say so too: its address, or its fence agent.",
    )
    migration_mib_s = forms.IntegerField(
        label="Most that one migration sends (MiB/s)",
        min_value=0,
        initial=0,
        required=False,
        help_text="0 is all that the network lets through.",
    )
    convergence = forms.ChoiceField(
        label="Guests that write faster than that",
        choices=Convergence.choices,
        initial=Convergence.AUTO_CONVERGE,
        required=False,
    )
    cpu_model = forms.CharField(
        label="Processor that guests see",
        max_length=100,
        required=False,
        help_text="As libvirt names it, such as Westmere: one that all hosts have. Empty: what the accelerator has.",
    )
    network_cidr = forms.CharField(
        label="Network",
        max_length=43,
        required=False,
        help_text="Such as 10.75.0.0/20. Empty: that of the first host. It stays while there are hosts.",
    )

    def clean_migration_mib_s(self) -> int:
        return self.cleaned_data["migration_mib_s"] or 0

    def clean_convergence(self) -> str:
        return self.cleaned_data["convergence"] or str(Convergence.AUTO_CONVERGE)

    @property
    def policy(self) -> dict[str, Any]:
        """As the service takes it."""
        given = {**self.cleaned_data}
        return {"class_ratios": {kind: given.pop(name) for name, kind in RATIOS.items()}, **given}


class NewClusterForm(ClusterForm):
    slug = forms.CharField(label="Name in the API", max_length=63, help_text="Lower-case letters, digits and hyphens.")
    field_order = ["name", "slug"]


@require_safe
def cluster_list(request: HttpRequest) -> HttpResponse:
    """The map: all clusters with their hosts."""
    actor = actor_of(request)
    page = page_of(request, selectors.clusters(actor))
    found = standings(host for cluster in page.rows for host in cluster.hosts.all())
    spares = spare.of_each(page.rows)
    context = {
        "page": page,
        "clusters": [drawn.cluster(cluster, found, spares[cluster.pk]) for cluster in page.rows],
        "may_write": actor.can(Permission.HOST_WRITE),
    }
    return render(request, "hosts/clusters.html", context)


@require_safe
def refusals(request: HttpRequest) -> HttpResponse:
    """What no host took lately, and why."""
    page = page_of(request, selectors.refused_placements(actor_of(request)))
    context = {"page": page, "refusals": [placement.card(each) for each in page.rows]}
    return render(request, "hosts/refusals.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def cluster_add(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    form = NewClusterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.add_cluster(actor=actor, **form.policy)
            return redirect("cluster-list")
    context = {"form": form, "submit": "Add cluster", "cancel_url": reverse("cluster-list")}
    return render(request, "hosts/cluster_form.html", context, status=status_of(form))


@require_http_methods(["GET", "HEAD", "POST"])
def cluster_change(request: HttpRequest, slug: str) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    cluster = selectors.cluster(actor, slug)
    given = cluster.class_ratios
    ratios = {name: f"{given[kind]:g}" for name, kind in RATIOS.items() if kind in given}
    now = {**model_to_dict(cluster, fields=list(ClusterForm.base_fields)), **ratios}
    form = ClusterForm(request.POST or None, initial=now)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.change_cluster(actor=actor, cluster=cluster, **form.policy)
            messages.success(request, "The policy is in force for the next machines.")
            return redirect("cluster-list")
    context = {"form": form, "submit": "Save", "cancel_url": reverse("cluster-list"), "cluster": cluster}
    return render(request, "hosts/cluster_form.html", context, status=status_of(form))


class TenantClustersForm(forms.Form):
    """`clusters` are slugs."""

    clusters = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, clusters: Iterable[Cluster], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["clusters"].choices = [(each.slug, each.name) for each in clusters]  # type: ignore[attr-defined]


@require_http_methods(["GET", "HEAD", "POST"])
def tenant_clusters(request: HttpRequest, slug: str) -> HttpResponse:
    """Where a tenant's new machines may be placed."""
    actor, tenant = actor_of(request), tenant_of(request, slug)
    actor.require(Permission.HOST_WRITE)
    known = list(selectors.clusters(actor))
    now = [cluster.slug for cluster in selectors.clusters_of_tenant(actor, tenant)]
    form = TenantClustersForm(known, request.POST if request.method == "POST" else None, initial={"clusters": now})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            wanted = [cluster for cluster in known if cluster.slug in form.cleaned_data["clusters"]]
            services.allow_clusters(actor=actor, tenant=tenant, clusters=wanted)
            messages.success(request, "It counts for the next machines.")
            return redirect("provider-tenant", slug)
    context = {"form": form, "of": tenant, "submit": "Save", "cancel_url": reverse("provider-tenant", args=[slug])}
    return render(request, "hosts/tenant_clusters.html", context, status=status_of(form))


@require_POST
def cluster_remove(request: HttpRequest, slug: str) -> HttpResponse:
    actor = actor_of(request)
    cluster = selectors.cluster(actor, slug)
    with refusals_as_notice(request):
        services.remove_cluster(actor=actor, cluster=cluster)
        messages.success(request, "The cluster is gone.")
    return redirect("cluster-list")
