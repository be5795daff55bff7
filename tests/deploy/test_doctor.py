"""The doctor finds what is planted, and says what to do."""

from __future__ import annotations

import io
import json
import logging
import shutil
import socket
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from hosts.models import Host
from hosts.services.clusters import default_cluster
from vms.management.commands import doctor
from vms.management.commands.doctor import Finding, Level
from vms.models import Image

pytestmark = pytest.mark.django_db
GIB = 1024**3


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    monkeypatch.setattr(doctor, "DATA_DIR", tmp_path)
    settings.IMAGE_DIR = tmp_path / "images"
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    return tmp_path


def test_people_who_read_along_get_words_only(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine() -> list[Finding]:
        logging.getLogger("portal").info("host call")
        logging.getLogger("vms.audit.run").error("a host answers nonsense")
        return []

    monkeypatch.setattr(doctor, "examine", examine)
    call_command("doctor", stdout=io.StringIO())
    assert caplog.records == []
    examine()
    assert len(caplog.records) == 2, "and later ones are heard"


def found(subject: str) -> Finding:
    matching = [finding for finding in doctor.examine() if finding.subject == subject]
    assert len(matching) == 1, matching
    return matching[0]


def add_host(**fields: object) -> Host:
    now = timezone.now()
    pool = {"name": "berth", "path": "/pool", "active": True, "capacity_bytes": 100 * GIB, "available_bytes": 50 * GIB}
    verdict = {"accelerator": "kvm", "usable": True, "seconds": 1.5, "detail": ""}
    base = {
        "name": "local",
        "uri": "qemu:///system",
        "cluster": default_cluster(),
        "pool_name": "berth",
        "pool_path": "/pool",
        "network_name": "berth",
    }
    seen = {"checked_at": now, "seen_at": now, "accelerator": "kvm", "pools": [pool], "verdicts": [verdict]}
    return Host.objects.create(**{**base, **seen, **fields})


def test_the_database_is_up_to_date() -> None:
    assert found("database").level is Level.OK


def test_a_secret_that_others_may_read(data: Path) -> None:
    (data / "first-login.json").write_text("{}")
    (data / "first-login.json").chmod(0o644)
    assert found("secrets").level is Level.FAIL
    assert "chmod 600" in found("secrets").advice
    (data / "first-login.json").chmod(0o600)
    assert found("secrets").level is Level.OK


@pytest.mark.parametrize(("free_gib", "level"), [(0.5, Level.FAIL), (5, Level.WARN), (50, Level.OK)])
def test_disk(free_gib: float, level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(100 * GIB, 0, int(free_gib * GIB))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert found("disk").level is level


def test_a_port_that_somebody_else_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        monkeypatch.setenv("BERTH_PORT", str(port))
        finding = found("port")
    assert finding.level is Level.FAIL
    assert str(port) in finding.text
    assert "pid=" in finding.text


def test_a_broker_that_is_down_and_a_worker_that_is_absent() -> None:
    assert found("broker").level is Level.FAIL
    assert found("worker").level is Level.FAIL
    assert "./run" in found("worker").advice


def test_no_host() -> None:
    assert found("hosts").level is Level.FAIL


def test_a_host_that_is_well() -> None:
    add_host()
    assert found("host local").level is Level.OK
    assert found("KVM on local").level is Level.OK
    assert found("pool berth on local").level is Level.OK


def test_a_host_that_went_silent() -> None:
    add_host(seen_at=timezone.now() - timedelta(minutes=5), last_error="no answer")
    assert found("host local").level is Level.FAIL
    assert "no answer" in found("host local").text


@pytest.mark.parametrize(("error", "level"), [("", Level.WARN), ("no answer", Level.FAIL)])
def test_a_host_that_was_not_looked_at_yet(error: str, level: Level) -> None:
    add_host(checked_at=None, accelerator="", last_error=error)
    assert found("host local").level is level
    assert error in found("host local").text


def test_kvm_that_hangs_is_explained() -> None:
    add_host(
        accelerator="qemu",
        verdicts=[{"accelerator": "kvm", "usable": False, "seconds": 10.0, "detail": "nothing ran in 10 s"}],
    )
    finding = found("KVM on local")
    assert finding.level is Level.WARN
    assert "nothing ran in 10 s" in finding.text
    assert "emulated" in finding.advice


@pytest.mark.parametrize(("available_gib", "level"), [(1, Level.FAIL), (10, Level.WARN), (40, Level.OK)])
def test_a_pool_that_fills_up(available_gib: int, level: Level) -> None:
    pool = {"name": "berth", "capacity_bytes": 100 * GIB, "available_bytes": available_gib * GIB}
    add_host(pools=[pool])
    assert found("pool berth on local").level is level


def test_an_image_without_its_file() -> None:
    image = Image.objects.create(
        slug="tiny", name="tiny", os="Linux", default_user="tiny", size_bytes=1, virtual_size_bytes=1, sha256="0" * 64
    )
    assert found("image tiny").level is Level.FAIL
    path = doctor.image_store.path(image)
    path.parent.mkdir(parents=True)
    path.touch()
    assert found("image tiny").level is Level.OK


def test_the_exit_code_and_the_list() -> None:
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("doctor", "--json", stdout=out)
    assert ended.value.code == 1
    assert {"database", "broker"} <= {finding["subject"] for finding in json.loads(out.getvalue())}
