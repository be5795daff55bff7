"""Every template is used by a page, and no page has anything inline that the content security policy would stop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.dispatch import Signal
from django.test import Client
from django.test.signals import template_rendered
from django.utils import timezone

from hosts.models import Host, Placement
from portal.accounts.models import User
from portal.operations.models import Operation
from tests.web.addresses import PAGES, create_body
from tests.web.conftest import Browser
from tests.world import World, forget_machines
from vms.models import VM

NO_PAGES = {"provider-audit-export", "provider-tenant-export", "host-metrics", "vm-metrics-data"}  # files, and numbers
FOLDERS = ("portal", "vms", "hosts", "drift", "operations", "accounts", "generic")
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|<style|\son[a-z]+=|\sstyle=|javascript:", re.IGNORECASE)


@pytest.fixture
def rendered() -> Iterator[set[str]]:
    names: set[str] = set()

    def note(sender: Any, template: Any, **more: Any) -> None:
        names.add(str(template.name))

    signal: Signal = template_rendered
    signal.connect(note)
    yield names
    signal.disconnect(note)


def open_all(world: World, browser: Browser) -> Iterator[tuple[str, bytes]]:
    owner, admin, viewer = browser("owner"), browser("admin"), browser("viewer")
    for name, page in PAGES.items():
        if page.get and name not in NO_PAGES:
            client = (
                admin
                if name.startswith(("host", "cluster", "storage", "target", "drift", "provider", "vm-migrate"))
                else owner
            )
            yield name, client.get(page.url(name, world), follow=True).content
            yield name, viewer.get(page.url(name, world), follow=True).content
    yield from special_states(world, browser, owner)


def special_states(world: World, browser: Browser, owner: Client) -> Iterator[tuple[str, bytes]]:
    """What is not shown on an ordinary day."""
    web = [str(world.machines["web"].pk)]
    refused = {"state": {"two": "cordoned"}, "rank": {"three": "40% full with it"}}
    told = {"host": world.host, "host_name": "one", "reason": "first by spreading", "refused": refused}
    Placement.objects.create(holder_id=world.machines["web"].pk, considered=3, **told)
    _, webhook = PAGES["webhook-list"].posts["add"]
    yield "a new webhook, with its secret", owner.post("/t/acme/webhooks/", webhook(world), follow=True).content
    yield "webhooks", owner.get("/t/acme/webhooks/").content
    world.request()
    yield "quota request", browser("admin").get("/provider/quota-requests/").content
    yield "placement", browser("admin").get(f"/t/acme/vms/{web[0]}/").content
    yield "bulk delete", owner.post("/t/acme/vms/bulk/", {"action": "delete", "vm": web}).content
    yield "operation under way", owner.get(f"/t/acme/vms/{world.machines['busy'].pk}/").content
    leased = world.leased("paused", days=3, lease_stage="warned", lease_since=timezone.now())
    yield "lease that ends soon", owner.get(f"/t/acme/vms/{leased.pk}/").content
    owner.post("/t/acme/vms/create/plan/", create_body(world))  # a part of a page
    yield "refused", owner.post("/t/acme/vms/create/", {"name": "x"}).content
    Operation.objects.unscoped("test").update(state="failed", error={"code": "x", "title": "x", "detail": "x"})
    operation = Operation.objects.unscoped("test").get()
    yield "failed operation", owner.get(f"/operations/{operation.pk}/").content
    world.backup("web")
    Host.objects.filter(pk=world.host.pk).update(state="failed", failed_at=timezone.now())
    yield "failed host", browser("admin").get("/provider/hosts/one/failover/").content
    yield "tenant with machines on it", owner.get("/t/acme/").content
    yield "machine of a failed host", owner.get(f"/t/acme/vms/{web[0]}/").content
    forget_machines(VM.objects.unscoped("test").all())
    yield "nothing yet", owner.get("/t/acme/vms/").content
    User.objects.create_user("nobody")
    world.people["nobody"] = User.objects.get(username="nobody")
    yield "no tenant", browser("nobody").get("/").content


def test_every_template_is_used(world: World, browser: Browser, rendered: set[str]) -> None:
    list(open_all(world, browser))
    root = Path(settings.BASE_DIR) / "templates"
    there = {str(path.relative_to(root)) for folder in FOLDERS for path in (root / folder).rglob("*.html")}
    assert len(there) > 40
    assert there - rendered == set()


def test_nothing_is_inline(world: World, browser: Browser) -> None:
    pages = list(open_all(world, browser))
    assert len(pages) > 60
    for name, content in pages:
        assert INLINE.search(content.decode()) is None, name
        assert b"<!doctype html>" in content or b"data-live" in content or b"<tr" in content, name


def test_the_policy_is_strict(world: World, browser: Browser) -> None:
    policy = browser("owner").get("/t/acme/")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
