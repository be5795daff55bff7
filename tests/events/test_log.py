"""The log: written with what it tells or not at all, with who, where from, before and after; and never changed."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from hosts.models import HostState
from hosts.services import hosts
from portal.core.errors import DomainError
from portal.events import log, triggers
from portal.events.models import AppendOnly, Event
from portal.quotas.services import set_limits
from portal.tenancy import credentials, people, services
from portal.tenancy.gate import SYSTEM, Actor, actor_for
from tests.matrix import PIECES, PLANS, ROUTES, who_may
from tests.postgres import postgres  # noqa: F401  a fixture
from tests.stack import ROOT
from tests.world import SSH_KEY, World
from vms.services import catalogue, change, images
from vms.workflows import resize

ALL = Event.objects.unscoped("test")
REFUSALS = """
import django; django.setup()
from django.db import DatabaseError, connection, transaction
from portal.events.log import record
from portal.events.models import Event
from portal.tenancy.gate import SYSTEM
from portal.tenancy.models import Tenant
record("a.b", actor=SYSTEM, target=Tenant.objects.create(name="A", slug="a"))
STATEMENTS = ["UPDATE events_event SET actor = 'nobody'", "DELETE FROM events_event"]
if connection.vendor == "sqlite":
    names = "kind, tenant_id, target_type, target_id, target_name, user_id, source, request_id, operation_id, data, at"
    row = f"SELECT id, 'nobody', {names} FROM events_event"
    STATEMENTS.append(f"INSERT OR REPLACE INTO events_event (id, actor, {names}) {row}")
for statement in STATEMENTS:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError as error:
        assert "append-only" in str(error), error
    else:
        raise AssertionError(statement)
assert Event.objects.unscoped("test").get().actor == "system"
print(connection.vendor)
"""


@pytest.fixture
def admin(world: World) -> Actor:
    return actor_for(world.people["admin"], source="UI", request_id="r-1")


def last(kind: str) -> Event:
    found = ALL.filter(kind=kind).first()
    assert found is not None, f"nothing of {kind} in the log"
    return found


def changed(kind: str) -> tuple[Any, Any]:
    data = last(kind).data
    return data.get("before"), data.get("after")


class TestAppendOnly:
    def test_the_model_refuses(self, world: World) -> None:
        event = log.record("a.b", actor=SYSTEM, target=world.acme)
        event.actor = "somebody else"
        with pytest.raises(AppendOnly):
            event.save()
        with pytest.raises(AppendOnly):
            event.delete()
        with pytest.raises(AppendOnly):
            ALL.update(actor="nobody")
        with pytest.raises(AppendOnly):
            ALL.delete()
        with pytest.raises(AppendOnly), transaction.atomic():
            ALL.bulk_update([event], ["actor"])
        assert ALL.get(pk=event.pk).actor == "system"

    def test_a_row_cannot_be_taken_over_by_its_id(self, world: World) -> None:
        event = log.record("a.b", actor=SYSTEM, target=world.acme)
        with pytest.raises(DatabaseError), transaction.atomic():
            Event(pk=event.pk, kind="x", target_id=world.acme.pk).save()

    @pytest.mark.parametrize("statement", ["UPDATE events_event SET actor = 'nobody'", "DELETE FROM events_event"])
    def test_the_database_refuses(self, world: World, statement: str) -> None:
        log.record("a.b", actor=SYSTEM, target=world.acme)
        triggers.install(None, SchemaEditor())
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)

    def test_whoever_leaves_stays_in_it(self, world: World) -> None:
        services.rename_tenant(actor=actor_for(world.people["admin"]), tenant=world.acme, name="New")
        id = world.people["admin"].pk
        world.people["admin"].delete()
        event = last("tenant.renamed")
        assert (event.actor, event.user_id) == ("admin", id)


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
def test_a_migrated_database_refuses(on: str, request: pytest.FixtureRequest, tmp_path: Any) -> None:
    """As it is where Berth runs: after all migrations, whatever later ones did to the table."""
    url = request.getfixturevalue("postgres") if on == "postgresql" else f"sqlite:///{tmp_path}/db.sqlite3"
    environment = {**os.environ, "DATABASE_URL": url, "BERTH_DATA": str(tmp_path)}
    environment["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    run = {"cwd": ROOT, "env": environment, "check": True, "timeout": 120}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], **run)  # type: ignore[call-overload]
    told = subprocess.run([sys.executable, "-c", REFUSALS], capture_output=True, text=True, **run)  # type: ignore[call-overload]
    assert told.stdout.split() == [on]


class TestWithWhatItTells:
    def test_what_was_rolled_back_did_not_happen(self, world: World, admin: Actor) -> None:
        before = ALL.count()
        with transaction.atomic():
            services.rename_tenant(actor=admin, tenant=world.acme, name="New")
            transaction.set_rollback(True)
        assert ALL.count() == before

    def test_what_was_refused_did_not_happen(self, world: World) -> None:
        before = ALL.count()
        with pytest.raises(DomainError):
            services.rename_tenant(actor=actor_for(world.people["viewer"]), tenant=world.acme, name="New")
        assert ALL.count() == before

    @pytest.mark.parametrize(
        ("route", "method"),
        [
            (route, method)
            for route, entry in ROUTES.items()
            for method in entry.methods
            if method != "GET" and (route, method) not in (PIECES, PLANS)
        ],
    )
    def test_every_changing_call_is_told(self, world: World, route: str, method: str) -> None:
        """With who it was, the token's name, and the request's id."""
        entry = ROUTES[route]
        call = entry.methods[method]
        person = who_may(call)
        path, body = entry.path(world), call.body(world) if call.body else None
        before = ALL.count()
        answer = world.caller(person).request(method, path, body)
        assert answer.status_code < 300, answer.content
        told = list(ALL[: ALL.count() - before])
        assert told, "nothing in the log"
        assert {(event.actor, event.source) for event in told} == {(person, "token test")}
        assert all(event.request_id for event in told)


class TestBeforeAndAfter:
    def test_of_tenants(self, world: World, admin: Actor) -> None:
        services.rename_tenant(actor=admin, tenant=world.acme, name="New")
        assert changed("tenant.renamed") == ({"name": "Acme"}, {"name": "New"})
        services.set_member(actor=admin, tenant=world.acme, username="viewer", role="member")
        assert changed("member.set") == ({"role": "viewer"}, {"role": "member"})
        services.set_member(actor=admin, tenant=world.acme, username="foreign", role="viewer")
        assert changed("member.set") == (None, {"role": "viewer"})
        id = world.acme.memberships.get(user=world.people["foreign"]).pk
        services.remove_member(actor=admin, tenant=world.acme, membership_id=id)
        assert changed("member.removed") == ({"role": "viewer"}, None)
        assert last("member.removed").data["user"] == "foreign"

    def test_of_quotas(self, world: World, admin: Actor) -> None:
        set_limits(actor=admin, tenant=world.acme, limits={"vms": 99, "vcpus": None})
        before, after = changed("quota.changed")
        assert (before["vms"], after["vms"], after["vcpus"]) == (10, 99, None)
        assert before["vcpus"] != after["vcpus"]
        event = last("quota.changed")
        assert (event.actor, event.source, event.request_id, event.tenant) == ("admin", "UI", "r-1", world.acme)

    def test_of_people(self, world: World, admin: Actor) -> None:
        people.set_provider_role(actor=admin, user_id=world.people["member"].pk, provider_role="auditor")
        assert changed("user.role-changed") == ({"provider_role": ""}, {"provider_role": "auditor"})
        people.set_active(actor=admin, user_id=world.people["member"].pk, active=False)
        assert changed("user.disabled") == ({"active": True}, {"active": False})

    def test_of_hosts(self, world: World, admin: Actor) -> None:
        hosts.set_state(actor=admin, host=world.host, state=HostState.CORDONED)
        assert changed("host.state-changed") == ({"state": "enabled"}, {"state": "cordoned"})
        ratios = {"cpu_ratio": Decimal(3), "memory_ratio": Decimal(1), "memory_reserved_mib": 7}
        hosts.set_policy(actor=admin, host=world.host, **ratios)
        before, after = changed("host.policy-changed")
        assert after["cpu_ratio"] == "3"
        assert set(before) == set(after)

    def test_of_the_catalogue(self, world: World, admin: Actor) -> None:
        catalogue.set_flavor_active(actor=admin, flavor=world.flavor, active=False)
        assert changed("flavor.retired") == ({"offered": True}, {"offered": False})
        images.set_image_active(actor=admin, image=world.image, active=False)
        assert changed("image.retired") == ({"offered": True}, {"offered": False})
        size = {"vcpus": 1, "memory_mib": 64, "disk_gib": 2}
        catalogue.create_flavor(actor=admin, slug="nano", name="Nano", **size)
        assert changed("flavor.created") == (None, {**size, "service_class": "burstable"})

    def test_of_machines(self, world: World, admin: Actor) -> None:
        vm = world.machines["cold"]
        change.rename(actor=admin, vm=vm, name="www")
        assert changed("vm.renamed") == ({"name": "cold"}, {"name": "www"})
        change.protect(actor=admin, vm=vm, protected=True)
        assert changed("vm.protected") == ({"protected": False}, {"protected": True})
        before = vm.wanted
        operation = change.resize(actor=admin, vm=vm, flavor="large")
        resize.take(operation, {})
        vm.refresh_from_db()
        assert changed("vm.resized") == (before, vm.wanted)
        assert before != vm.wanted
        assert last("vm.resized").request_id == "r-1"

    def test_of_credentials(self, world: World) -> None:
        """The log knows of a secret that it was made, never the secret."""
        owner = actor_for(world.people["owner"])
        key = credentials.add_key(actor=owner, public_key=SSH_KEY)
        assert changed("ssh-key.added") == (None, {"fingerprint": key.fingerprint})
        credentials.remove_key(actor=owner, key_id=key.pk)
        assert changed("ssh-key.removed") == ({"fingerprint": key.fingerprint}, None)
        token, secret = credentials.create_token(actor=owner, made_with=None, name="x", scopes=["vm:read"])
        assert changed("token.created")[1]["scopes"] == ["vm:read"]
        credentials.revoke_token(actor=owner, token_id=token.pk)
        assert last("token.revoked").target_name == "x"
        assert secret not in str(list(ALL.values()))


class SchemaEditor:
    """What `install` asks of one, inside the test's own transaction."""

    connection = connection

    def execute(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)
