"""Health: whether it works for everybody, what was found for the provider's staff."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.conf import settings
from django.core.cache.backends.redis import RedisCache
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from hosts.models import Host
from portal.accounts import tokens
from portal.operations.tasks import WORKER_SEEN
from portal.tenancy.roles import Permission, Role
from tests.live import people
from tests.live.site import Site
from tests.stack import wait_until

WHO = ["anonymous", "viewer", "member", "owner", "admin", "auditor"]
STAFF = {"admin", "auditor"}


def person(who: str) -> people.User:
    return people.user(who) if who in STAFF else people.member(people.tenant(), Role(who))


def by_session(who: str) -> dict[str, Any]:
    return {} if who == "anonymous" else {"cookies": {settings.SESSION_COOKIE_NAME: people.session(person(who))}}


def by_token(who: str, scopes: tuple[str, ...] = ("*",)) -> dict[str, Any]:
    if who == "anonymous":
        return {"headers": {"Authorization": "Bearer berth_0_wrong"}}
    _, text = tokens.issue(user=person(who), name="test", scopes=scopes)
    return {"headers": {"Authorization": f"Bearer {text}"}}


def get(site: Site, path: str, **how: Any) -> requests.Response:
    return requests.get(f"{site.origin}{path}", timeout=20, **how)


@pytest.fixture
def working(site: Site) -> Site:
    """A worker was heard of, and the one host is checked."""
    cache = RedisCache(f"unix://{site.data}/redis.sock", {})
    cache.set(WORKER_SEEN, timezone.now().isoformat(), timeout=60)
    Host.objects.filter(checked_at=None).delete()
    Host.objects.update(seen_at=timezone.now())
    return site


@pytest.mark.parametrize("credentials", [by_session, by_token])
@pytest.mark.parametrize("who", WHO)
def test_metrics_are_for_staff(site: Site, who: str, credentials: Any) -> None:
    answer = get(site, "/metrics", **credentials(who))
    assert answer.status_code == (401 if who == "anonymous" else 200 if who in STAFF else 403)
    assert ("berth_vms" in answer.text) == (who in STAFF)


@pytest.mark.parametrize("credentials", [by_session, by_token])
@pytest.mark.parametrize("who", WHO)
def test_the_status_is_for_everybody_and_details_for_staff(working: Site, who: str, credentials: Any) -> None:
    answer = get(working, "/readyz", **credentials(who))
    assert answer.status_code == 200
    body = answer.json()
    assert body["ready"] is True
    if who not in STAFF:
        assert body == {"ready": True}
    else:
        assert set(body["checks"]) == {"database", "broker", "worker", "hosts"}
        assert all(check["ok"] for check in body["checks"].values())


def test_a_token_without_the_scope_sees_no_numbers(site: Site) -> None:
    assert get(site, "/metrics", **by_token("admin", (Permission.VM_READ,))).status_code == 403
    assert get(site, "/metrics", **by_token("admin", (Permission.HOST_READ,))).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer x" * 500, "Bearer berth__"])
def test_bad_credentials_are_nobody(site: Site, header: str) -> None:
    assert get(site, "/metrics", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/live/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_else_than_reading(site: Site, path: str, method: str) -> None:
    cookies = {settings.SESSION_COOKIE_NAME: people.session(people.user("admin"))}
    assert requests.request(method, f"{site.origin}{path}", cookies=cookies, timeout=20).status_code in (403, 405)


def test_without_a_worker_it_is_not_ready(working: Site) -> None:
    RedisCache(f"unix://{working.data}/redis.sock", {}).delete(WORKER_SEEN)
    answer = get(working, "/readyz", **by_session("admin"))
    assert answer.status_code == 503
    assert {name for name, check in answer.json()["checks"].items() if not check["ok"]} == {"worker"}


def test_without_the_broker_it_is_not_ready_and_alive(working: Site) -> None:
    working.kill_redis()
    try:
        answer = get(working, "/readyz", **by_session("auditor"))
        assert answer.status_code == 503
        assert {name for name, check in answer.json()["checks"].items() if not check["ok"]} == {"broker", "worker"}
        assert str(working.data) not in answer.text
        assert get(working, "/healthz").status_code == 200
    finally:
        working.start_redis()
    wait_until(lambda: get(working, "/healthz").status_code == 200, 5, "it lives on")


def test_without_the_database_the_status_is_told_and_nobody_is_known(working: Site) -> None:
    staff = by_token("admin")
    with working.without_database():
        answer = get(working, "/readyz", **staff)
        assert (answer.status_code, answer.json()) == (503, {"ready": False})
        assert get(working, "/healthz").status_code == 200
    assert get(working, "/readyz", **staff).status_code == 200


def hosts_check(site: Site) -> tuple[int, dict[str, Any]]:
    answer = get(site, "/readyz", **by_session("admin"))
    return answer.status_code, answer.json()["checks"]["hosts"]


def test_it_waits_for_the_first_host_only(working: Site) -> None:
    checked = list(Host.objects.all().values("pk", "checked_at", "seen_at"))
    fresh = people.host(people.some("fresh"))
    Host.objects.update(checked_at=None, seen_at=None)
    try:
        status, check = hosts_check(working)
        assert (status, check["ok"]) == (503, False)
        Host.objects.update(last_error="It does not answer.")
        assert hosts_check(working)[0] == 200, "a host that cannot be reached must not keep everything down"
        Host.objects.filter(pk=fresh.pk).update(checked_at=timezone.now(), seen_at=timezone.now(), last_error="")
        status, check = hosts_check(working)
        assert (status, check["ok"]) == (200, True)
        assert {"name": fresh.name, "health": "unusable"} in check["facts"]["hosts"]
    finally:
        for row in checked:
            Host.objects.filter(pk=row.pop("pk")).update(**row, last_error="")


def test_an_unreachable_host_is_told_and_harms_nobody(working: Site) -> None:
    gone = people.host(people.some("gone"))
    Host.objects.filter(pk=gone.pk).update(seen_at=timezone.now() - timedelta(minutes=5))
    status, check = hosts_check(working)
    assert (status, check["ok"]) == (200, True)
    assert {"name": gone.name, "health": "unreachable"} in check["facts"]["hosts"]


def test_numbers_are_those_of_the_database(working: Site) -> None:
    staff = people.session(people.user("admin"))
    before = numbers(working, staff)
    tenant = people.tenant()
    machines = [people.vm(tenant), people.vm(tenant, observed_power="stopped"), people.vm(tenant, is_missing=True)]
    host = machines[0].host
    Host.objects.filter(pk=host.pk).update(seen_at=timezone.now() - timedelta(minutes=1))
    after = numbers(working, staff)
    for status in ("running", "stopped", "error"):
        key = ("berth_vms", json.dumps({"status": status}))
        assert after[key] == before[key] + 1
    named = json.dumps({"host": host.name})
    assert after[("berth_host_up", named)] == 0
    assert 60 <= after[("berth_host_seen_seconds", named)] < 90


def test_what_alerts_need_is_there(working: Site) -> None:
    people.vm(people.tenant())
    names = {name for name, _ in numbers(working, people.session(people.user("auditor")))}
    assert names >= {
        "berth_operations_oldest_queued_seconds",
        "berth_host_up",
        "berth_host_seen_seconds",
        "berth_reconcile_lag_seconds",
        "berth_drift_open",
        "berth_vms",
    }


def numbers(site: Site, staff: str) -> dict[tuple[str, str], float]:
    text = get(site, "/metrics", cookies={settings.SESSION_COOKIE_NAME: staff}).text
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, json.dumps(sample.labels)): sample.value for sample in samples}
