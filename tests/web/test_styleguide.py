"""The page that shows every component: for the provider's people only, with a toast of each look."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.test.signals import template_rendered
from django.urls import path

from portal.urls import handler404 as handler404  # Django looks for it here
from portal.urls import urlpatterns as pages
from portal.web.styleguide import styleguide
from tests.web.conftest import Browser
from tests.web.test_templates import INLINE

urlpatterns = [path("styleguide/", styleguide), *pages]
pytestmark = pytest.mark.urls(__name__)


@pytest.mark.parametrize(("person", "status"), [("", 302), ("owner", 404), ("auditor", 200), ("admin", 200)])
def test_who_sees_it(browser: Browser, person: str, status: int) -> None:
    assert browser(person).get("/styleguide/").status_code == status


def test_it_shows_every_component(browser: Browser) -> None:
    shown: set[str] = set()

    def note(sender: object, template: object, **more: object) -> None:
        shown.add(str(getattr(template, "name", "")))

    template_rendered.connect(note)
    try:
        page = browser("admin").get("/styleguide/").content.decode()
    finally:
        template_rendered.disconnect(note)
    there = {f"components/{file.name}" for file in (Path(settings.BASE_DIR) / "templates/components").glob("*.html")}
    assert len(there) > 12
    assert there - shown == set()
    assert INLINE.search(page) is None


def test_a_post_answers_with_a_toast_of_each_look(browser: Browser) -> None:
    page = browser("admin").post("/styleguide/", follow=True).content.decode()
    shown = page.partition("<template")[0]
    for look in ("running", "attention", "failed"):
        assert f'data-toast="{look}"' in shown
