"""Health for supervisors, load balancers and Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from portal.accounts import tokens
from portal.accounts.models import User
from portal.core import health
from portal.core.errors import Forbidden
from portal.tenancy.gate import Actor, actor_for
from portal.tenancy.roles import Permission
from portal.web.actor import address_of


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers; asks nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 or 503 for everybody; what was found, for the provider's staff."""
    findings = health.readiness()
    ready = all(finding.ok for finding in findings.values())
    body: dict[str, object] = {"ready": ready}
    if _is_staff(request):
        body["checks"] = {name: asdict(finding) for name, finding in findings.items()}
    return JsonResponse(body, status=200 if ready else 503)


@login_not_required
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text, read from the database at each scrape."""
    actor = _actor(request)
    if actor is None:
        return HttpResponse("Send an API token.\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    try:
        actor.require(Permission.HOST_READ)
    except Forbidden as error:
        return HttpResponse(f"{error.detail}\n", status=403, content_type="text/plain")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Collector:
    def collect(self) -> Iterator[Metric]:
        for collector in health.collectors.values():
            yield from collector()


def _is_staff(request: HttpRequest) -> bool:
    try:
        actor = _actor(request)
    except DatabaseError:  # nobody is known while the database is away; the status still is
        return False
    return actor is not None and actor.can(Permission.HOST_READ)


def _actor(request: HttpRequest) -> Actor | None:
    """By bearer token, or by the browser's session where no token is sent; None for nobody."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        token = tokens.find(text.strip(), address_of(request)) if scheme.lower() == "bearer" else None
        return actor_for(token.user, token=token, source="api") if token else None
    user = request.user
    return actor_for(user) if isinstance(user, User) else None
