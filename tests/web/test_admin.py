"""Django's admin: a last resort for superusers, to look only."""

from __future__ import annotations

import pytest

from portal.accounts.models import User
from tests.web.conftest import Browser
from tests.world import World

LISTS = ("accounts/user", "tenancy/tenant", "hosts/host", "vms/image", "vms/flavor")


@pytest.mark.parametrize("name", LISTS)
def test_superusers_look(world: World, browser: Browser, name: str) -> None:
    User.objects.filter(username="admin").update(is_staff=True, is_superuser=True)
    admin = browser("admin")
    row = {"accounts/user": world.people["owner"], "tenancy/tenant": world.acme, "hosts/host": world.host}
    row |= {"vms/image": world.image, "vms/flavor": world.flavor}
    assert admin.get(f"/django-admin/{name}/").status_code == 200
    assert admin.get(f"/django-admin/{name}/{row[name].pk}/change/").status_code == 200
    assert admin.get(f"/django-admin/{name}/add/").status_code == 403
    assert admin.post(f"/django-admin/{name}/{row[name].pk}/delete/", {"post": "yes"}).status_code == 403
    assert b"argon2" not in admin.get(f"/django-admin/{name}/{row[name].pk}/change/").content


@pytest.mark.parametrize("person", ["owner", "admin", "auditor"])
def test_nobody_else_does(world: World, browser: Browser, person: str) -> None:
    """A provider's administrator is no superuser by that."""
    assert browser(person).get("/django-admin/").status_code == 302
