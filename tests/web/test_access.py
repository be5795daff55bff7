"""Every page for everybody: who sees it, who may send it, and that no forbidden button is there to press."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.db import transaction
from django.urls import URLPattern, URLResolver, get_resolver

from tests.web.addresses import PAGES, PERSONAS
from tests.web.conftest import Browser
from tests.world import World

# Not pages of ours: the framework's, the API (tests/matrix.py), health and the live stream (tests of their own).
ELSEWHERE = ("api/", "accounts/", "django-admin/", "healthz", "readyz", "metrics", "live/", "static/", "styleguide")
READS = [name for name, page in PAGES.items() if page.get]
SENDS = [(name, what) for name, page in PAGES.items() for what in page.posts]


def names(resolver: URLResolver | None = None, before: str = "") -> Iterator[str]:
    for pattern in (resolver or get_resolver()).url_patterns:
        route = before + str(pattern.pattern)
        if route.startswith(ELSEWHERE):
            continue
        if isinstance(pattern, URLResolver):
            yield from names(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield str(pattern.name)


def expected(statuses: str) -> dict[str, int]:
    return dict(zip(PERSONAS, map(int, statuses.split()), strict=True))


def test_every_page_is_in_the_matrix() -> None:
    assert set(names()) == set(PAGES)
    assert len(PAGES) > 40, "pages were lost, or the walk through the URLconf is broken"


@pytest.mark.parametrize("name", READS)
def test_who_sees_it(world: World, browser: Browser, name: str) -> None:
    url = PAGES[name].url(name, world)
    found = {each: browser("" if each == "anonymous" else each).get(url).status_code for each in PERSONAS}
    assert found == expected(PAGES[name].get)


@pytest.mark.parametrize(("name", "what"), SENDS)
def test_who_may_send_it(world: World, browser: Browser, name: str, what: str) -> None:
    """Each persona finds the world as it was made."""
    statuses, body = PAGES[name].posts[what]
    url, found = PAGES[name].url(name, world), {}
    for persona in PERSONAS:
        client = browser("" if persona == "anonymous" else persona)
        before = transaction.savepoint()
        found[persona] = client.post(url, body(world)).status_code
        transaction.savepoint_rollback(before)
    assert found == expected(statuses)


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if not page.get])
def test_what_changes_something_is_not_done_by_looking(world: World, browser: Browser, name: str) -> None:
    assert browser("admin").get(PAGES[name].url(name, world)).status_code == 405


@pytest.mark.parametrize("name", [name for name in READS if name not in ("ssh-keys", "api-tokens", "invitation")])
@pytest.mark.parametrize("person", ["viewer", "auditor"])
def test_no_forbidden_button_works(world: World, browser: Browser, name: str, person: str) -> None:
    """Whoever only reads gets nothing to press but the sign-out, and what is about themselves."""
    assert working_forms(b"".join(browser(person).get(PAGES[name].url(name, world))).decode()) == []


def test_allowed_buttons_work(world: World, browser: Browser) -> None:
    """The counterpart: what the search above looks for is there for others."""
    for name in ("vm-list", "vm-detail", "vm-settings", "vm-create", "member-list", "operation-detail"):
        assert working_forms(browser("owner").get(PAGES[name].url(name, world)).content.decode()), name
    for name in ("host-detail", "provider-tenant", "provider-users", "provider-images", "provider-flavors"):
        assert working_forms(browser("admin").get(PAGES[name].url(name, world)).content.decode()), name


def working_forms(page: str) -> list[str]:
    """Forms that post somewhere by a button that is not disabled."""
    forms = re.findall(r'<form[^>]*method="post".*?</form>', page, re.DOTALL)
    others = [form for form in forms if "/accounts/logout/" not in form and "/members/leave/" not in form]
    return [form for form in others if re.search(r'<button(?![^>]*aria-disabled)(?![^>]*type="button")', form)]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_another_tenants_machine_is_nowhere(world: World, browser: Browser, name: str) -> None:
    """Not under its own tenant for strangers, and not under a tenant it does not belong to for anybody."""
    url = PAGES[name].url(name, world)
    web = str(world.machines["web"].pk)
    if web not in url:
        return
    foreign = url.replace(web, str(world.machines["foreign"].pk))
    for person in ("owner", "admin"):
        client = browser(person)
        assert client.get(foreign).status_code in (204, 404, 405)  # 204: a row that is gone
        assert client.post(foreign).status_code in (404, 405)
