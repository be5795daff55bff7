"""Clusters, as the provider's administrators keep them."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.forms import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hosts import selectors, spare
from hosts.models import Convergence, Failover, Spread
from hosts.services import clusters as services
from hosts.web import presenters
from portal.tenancy.roles import Permission
from portal.web.actor import actor_of
from portal.web.forms import refusals_as_notice, refusals_in, status_of
from portal.web.paging import page_of


class ClusterForm(forms.Form):
    name = forms.CharField(max_length=100)
    spread = forms.ChoiceField(
        label="Placement",
        choices=Spread.choices,
        initial=Spread.SPREAD,
        help_text="Spreading leaves each host room to spare; packing leaves whole hosts empty.",
    )
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


class NewClusterForm(ClusterForm):
    slug = forms.CharField(label="Name in the API", max_length=63, help_text="Lower-case letters, digits and hyphens.")
    field_order = ["name", "slug"]


@require_safe
def cluster_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    page = page_of(request, selectors.clusters(actor))
    claimed = selectors.claimed_of_each(host for cluster in page.rows for host in cluster.hosts.all())
    spares = spare.of_each(page.rows)
    context = {
        "page": page,
        "clusters": [presenters.cluster(cluster, claimed, spares[cluster.pk]) for cluster in page.rows],
        "may_write": actor.can(Permission.HOST_WRITE),
    }
    return render(request, "hosts/clusters.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def cluster_add(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    form = NewClusterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.add_cluster(actor=actor, **form.cleaned_data)
            return redirect("cluster-list")
    context = {"form": form, "submit": "Add cluster", "cancel_url": reverse("cluster-list")}
    return render(request, "hosts/cluster_form.html", context, status=status_of(form))


@require_http_methods(["GET", "HEAD", "POST"])
def cluster_change(request: HttpRequest, slug: str) -> HttpResponse:
    actor = actor_of(request)
    actor.require(Permission.HOST_WRITE)
    cluster = selectors.cluster(actor, slug)
    form = ClusterForm(request.POST or None, initial=model_to_dict(cluster, fields=list(ClusterForm.base_fields)))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.change_cluster(actor=actor, cluster=cluster, **form.cleaned_data)
            messages.success(request, "The policy is in force for the next machines.")
            return redirect("cluster-list")
    context = {"form": form, "submit": "Save", "cancel_url": reverse("cluster-list"), "cluster": cluster}
    return render(request, "hosts/cluster_form.html", context, status=status_of(form))


@require_POST
def cluster_remove(request: HttpRequest, slug: str) -> HttpResponse:
    actor = actor_of(request)
    cluster = selectors.cluster(actor, slug)
    with refusals_as_notice(request):
        services.remove_cluster(actor=actor, cluster=cluster)
        messages.success(request, "The cluster is gone.")
    return redirect("cluster-list")
