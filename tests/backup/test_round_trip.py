"""A backup of a whole running portal, put in place on a machine that has nothing; the host is the same real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.backup.conftest import PASSPHRASE
from tests.lab.fixtures import Lab
from tests.stack import ROOT, Stack, running, wait_until
from tests.tiny import tiny_image  # noqa: F401  the fixture

pytestmark = [pytest.mark.service, pytest.mark.timeout(900)]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Not the one that other tests share: two portals of one name must not meet on a host."""
    lab = Lab()
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Of the old portal and of the new one."""
    if request.param == "sqlite":
        return "", ""
    server: str = request.getfixturevalue("postgres")
    urls = [server.replace("/berth?", f"/{name}?") for name in ("portal_old", "portal_new")]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE portal_old")
        connection.execute("CREATE DATABASE portal_new")
    return urls[0], urls[1]


def tool(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "portal.backup", *arguments],
        cwd=ROOT,
        env=stack.environment | {"BERTH_BACKUP_PASSPHRASE": PASSPHRASE},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def half_created(stack: Stack) -> dict[str, Any]:
    """A create that is in the middle of a step, with its lease held."""
    stack.kill("worker")
    stack.start_part("worker", BERTH_TEST_HOLD="during:disk")
    body = {"name": "midway", "image": "tiny", "flavor": "nano", "tenant": "demo"}
    accepted = stack.accepted("POST", "/vms", body)
    wait_until(stack.held.exists, 60, "the worker to come to the step", stack.logs)
    return accepted


def drift(stack: Stack, vm: dict[str, Any]) -> list[str]:
    cards = stack.get("/drift?state=open", user="admin")["results"]
    return [card["kind"] for card in cards if vm["id"] in card["object"]]


def test_what_was_there_is_there_again(
    lab: Lab,
    database_urls: tuple[str, str],
    tiny_image: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (host,) = lab.up(1)
    place: dict[str, Any] = {"libvirt_uri": host.uri, "pool_path": host.directory / "pool", "tiny": tiny_image}
    old, new = (
        Stack(data=tmp_path / name, database_url=url, **place)
        for name, url in zip(("old", "new"), database_urls, strict=True)
    )
    file = tmp_path / "backup.zip"

    with running(old):
        kept = old.create("kept")
        midway = half_created(old)
        done = tool(old, "create", str(file), "--encrypt", "--with-images")
        assert done.returncode == 0, done.stderr
        old.held.unlink()
        assert old.finished(midway["operation"])["status"] == "succeeded"
        later = old.create("later")
        renamed = old.api("PATCH", f"/vms/{kept['id']}", {"name": "renamed"})
        assert renamed.status_code == 200, renamed.text
        assert "portal runs" in tool(old, "restore", str(file), "--force").stderr
        logins, token, events = old.logins, old.token(), old.get(f"/events?target={kept['id']}")["results"]

    done = tool(new, "restore", str(file))
    assert done.returncode == 0, done.stderr
    assert new.logins == logins
    assert (new.data / "secret-key").read_text() == (old.data / "secret-key").read_text()

    with running(new):
        new.tokens[("demo",)] = token
        assert new.get(f"/vms/{kept['id']}")["name"] == "kept"
        told = new.get(f"/events?target={kept['id']}")["results"]
        assert {event["id"] for event in told} <= {event["id"] for event in events}
        assert told
        operation = new.finished(midway["operation"])
        assert operation["status"] == "succeeded", "it goes on from its journal, over what is there by now"
        for vm in (kept, midway["vm"]):
            now = wait_until(lambda vm=vm: running_vm(new, vm), 60, "both machines run")
            assert now["addresses"]
        assert new.api("GET", f"/vms/{later['id']}").status_code == 404
        wait_until(lambda: drift(new, later), 90, "what was made since to be shown", new.logs)
        new.delete(kept)
        new.delete(midway["vm"])
        assert host_still_has(host.uri, later)


def running_vm(stack: Stack, vm: dict[str, Any]) -> dict[str, Any] | None:
    now = dict(stack.get(f"/vms/{vm['id']}"))
    return now if now["status"] == "running" else None


def host_still_has(uri: str, vm: dict[str, Any]) -> bool:
    """Nothing of a tenant's is removed because a backup does not know it."""
    command = ["virsh", "-q", "-c", uri, "domstate", vm["id"]]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=30, check=False)
    return done.stdout.strip() == "running"
