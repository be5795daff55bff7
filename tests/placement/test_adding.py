"""Adding hosts: one row for one host, whatever it is called."""

from __future__ import annotations

from uuid import uuid4

import pytest

from hosts.connections import driver_for
from hosts.models import Host
from hosts.services.hosts import preflight
from portal.operations import engine
from portal.tenancy.gate import SYSTEM
from tests.world import World, make_host

pytestmark = pytest.mark.django_db


def test_one_that_is_there_already_under_another_uri_is_refused(world: World) -> None:
    """Clearing the one would end what the other one has there."""
    one, two = (make_host(name, uri=f"memory://{uuid4()}") for name in ("one-way", "another-way"))
    Host.objects.filter(pk=one.pk).update(libvirt_id=driver_for(two).facts().uuid)
    operation = preflight(actor=SYSTEM, host=two)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.error is not None
    assert operation.error["code"] == "same_host"
    assert "one-way" in operation.error["detail"]


def test_one_may_be_checked_again(world: World) -> None:
    host = make_host("twice", uri=f"memory://{uuid4()}")
    for _ in range(2):
        operation = preflight(actor=SYSTEM, host=host)
        engine.run(operation.pk)
        operation.refresh_from_db()
        assert operation.state == "succeeded"


@pytest.mark.parametrize("uri", ["qemu+tls://BOX.example/system", "qemu+tls://box.example:16514/system"])
def test_another_spelling_of_its_uri_is_refused(world: World, uri: str) -> None:
    admin = world.caller("admin")
    assert admin.post("hosts", {"name": "box", "uri": "qemu+tls://box.example/system"}).status_code == 202
    assert admin.post("hosts", {"name": "again", "uri": uri}).status_code == 409


@pytest.mark.parametrize("path", ["hosts", "clusters"])
def test_none_is_called_by_what_could_be_an_id(world: World, path: str) -> None:
    body = {"name": str(world.host.pk), "slug": str(world.host.pk), "uri": "qemu+tls://box.example/system"}
    wanted = {name: body[name] for name in (("name", "uri") if path == "hosts" else ("slug",))}
    answer = world.caller("admin").post(path, wanted)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_name"
