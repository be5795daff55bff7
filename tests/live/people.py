"""Rows that the tests of this folder need, made directly."""

from __future__ import annotations

from importlib import import_module
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.utils import timezone

from hosts.models import Host
from hosts.services.clusters import default_cluster
from portal.accounts.models import User
from portal.tenancy.models import Membership, Tenant
from portal.tenancy.roles import Role
from vms.models import VM, Flavor, Image, Lifecycle, Power


def some(word: str) -> str:
    return f"{word}-{uuid4().hex[:8]}"


def user(provider_role: str = "") -> User:
    return User.objects.create_user(some("user"), provider_role=provider_role)


def tenant() -> Tenant:
    return Tenant.objects.create(name="Acme", slug=some("acme"))


def member(of: Tenant, role: Role = Role.MEMBER) -> User:
    person = user()
    Membership.objects.create(tenant=of, user=person, role=role)
    return person


def session(person: User) -> str:
    """The key of a session in which that person is signed in."""
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    store[SESSION_KEY] = str(person.pk)
    store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    store[HASH_SESSION_KEY] = person.get_session_auth_hash()
    store.create()
    return str(store.session_key)


def host(name: str, uri: str = "") -> Host:
    uri = uri or f"memory://{name}"
    values = {"uri": uri, "pool_name": "berth", "pool_path": "/nowhere", "network_name": "berth"}
    seen = {"cluster": default_cluster(), "checked_at": timezone.now()}
    return Host.objects.get_or_create(name=name, defaults={**values, **seen})[0]


def vm(of: Tenant, on: str = "echoes", **values: object) -> VM:
    """A running machine on the host of that name."""
    flavor, _ = Flavor.objects.get_or_create(slug="small", defaults={**FLAVOR, "name": "Small"})
    images = Image.objects.unscoped("a test's own")
    image, _ = images.get_or_create(slug="tiny", tenant=None, defaults={"size_bytes": 1, "virtual_size_bytes": 1})
    return VM.objects.create(
        **{
            "tenant": of,
            "name": some("vm"),
            "flavor": flavor,
            "image": image,
            "host": host(on),
            "lifecycle": Lifecycle.READY,
            "observed_power": Power.RUNNING,
            **FLAVOR,
            **values,
        }
    )


FLAVOR = {"vcpus": 1, "memory_mib": 64, "disk_gib": 1}
