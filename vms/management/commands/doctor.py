"""Looks for what keeps Berth from working, and says what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from hosts.models import Host
from portal.core import health
from portal.core.units import GIB
from portal.env import BASE_DIR, DATA_DIR
from portal.logs import left_to_words
from vms import image_store
from vms.imaging import jail
from vms.models import Image

DISK_WARN_BYTES, DISK_FAIL_BYTES = 10 * GIB, 1 * GIB
POOL_WARN_PERCENT, POOL_FAIL_PERCENT = 85, 97
BELL_ADVICE = {
    "broker": "See log/redis.log, or check REDIS_URL; ./run starts our own.",
    "worker": "Accepted work waits until one runs. See log/worker.log; ./run starts it.",
}
SECRETS = ("first-login.json", "secret-key")


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """`advice` is what to do, empty where all is well."""

    level: Level
    subject: str
    text: str
    advice: str = ""


class Command(BaseCommand):
    help = "Check this installation; the exit code is 1 where something fails."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as a JSON list")

    def handle(self, *args: Any, **options: Any) -> None:
        with left_to_words():
            findings = examine()
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            for finding in findings:
                self._show(finding)
        if any(finding.level is Level.FAIL for finding in findings):
            sys.exit(1)

    def _show(self, finding: Finding) -> None:
        style = {Level.OK: self.style.SUCCESS, Level.WARN: self.style.WARNING, Level.FAIL: self.style.ERROR}
        self.stdout.write(f"{style[finding.level](f'{finding.level:<5}')} {finding.subject}: {finding.text}")
        if finding.advice:
            self.stdout.write(f"      {finding.advice}")


def examine() -> list[Finding]:
    """Everything that can be looked at now; without a database, what does not need one."""
    checks: list[Callable[[], Iterator[Finding]]] = [_secrets, _disk, _services, _port, _bell, _intake]
    database = list(_database())
    if all(finding.level is Level.OK for finding in database):
        checks += [_hosts, _images]
    return database + [finding for check in checks for finding in check()]


def _database() -> Iterator[Finding]:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        yield Finding(Level.FAIL, "database", f"it does not answer: {error}", "Check DATABASE_URL and the server.")
        return
    if missing:
        yield Finding(
            Level.FAIL, "database", f"{len(missing)} migrations are missing", "Run ./run, which applies them."
        )
    else:
        yield Finding(Level.OK, "database", f"{connection.vendor} answers and is up to date")


def _secrets() -> Iterator[Finding]:
    for path in [DATA_DIR / name for name in SECRETS]:
        if path.exists() and path.stat().st_mode & 0o077:
            yield Finding(Level.FAIL, "secrets", f"others may read {path}", f"Run: chmod 600 {path}")
        elif path.exists():
            yield Finding(Level.OK, "secrets", f"{path.name} is readable by its owner only")


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(DATA_DIR).free
    text = f"{free / GIB:.1f} GiB are free under {DATA_DIR}"
    if free < DISK_FAIL_BYTES:
        yield Finding(Level.FAIL, "disk", text, "Free some space, or move BERTH_DATA.")
    elif free < DISK_WARN_BYTES:
        yield Finding(Level.WARN, "disk", text, "Images and logs need room; free some soon.")
    else:
        yield Finding(Level.OK, "disk", text)


def _intake() -> Iterator[Finding]:
    """What images from tenants need, and what stands around the tool that reads them."""
    if shutil.which("qemu-img") is None:
        yield Finding(Level.FAIL, "image intake", "there is no qemu-img", "Install qemu-utils where the worker runs.")
    elif jail.is_apart() and jail.is_nobody():
        yield Finding(Level.OK, "image intake", "qemu-img runs as nobody, without network")
    else:
        lacks = [] if jail.is_apart() else ["a network namespace"]
        lacks += [] if jail.is_nobody() else ["a user of its own"]
        words = f"qemu-img runs without {' and '.join(lacks)}"
        yield Finding(Level.WARN, "image intake", words, "Run the worker as root, with namespaces, where you can.")


def _supervised() -> dict[str, dict[str, Any]]:
    """The supervisor's children by name; empty where it does not run."""
    command = [sys.executable, str(BASE_DIR / "deploy/supervisor.py"), "status"]
    answer = subprocess.run(  # noqa: S603 (our own script)
        command, capture_output=True, text=True, timeout=10, check=False
    ).stdout
    if answer.startswith("Berth is stopped"):
        return {}
    programs: dict[str, dict[str, Any]] = json.loads((DATA_DIR / "supervisor.json").read_text())["programs"]
    return programs


def _services() -> Iterator[Finding]:
    if not (DATA_DIR / "supervisor.pid").exists():
        return  # started by something else than ./run: containers, units
    programs = _supervised()
    if not programs:
        yield Finding(Level.FAIL, "services", "Berth is stopped", "Run ./run.")
    for name, program in programs.items():
        log = DATA_DIR / "log" / f"{name}.log"
        if program["state"] != "running":
            yield Finding(Level.FAIL, name, "it ended and waits to be started again", f"See {log}.")
        elif program["restarts"] > 0:
            yield Finding(Level.WARN, name, f"it runs, after {program['restarts']} restarts", f"See {log}.")
        else:
            yield Finding(Level.OK, name, f"it runs (pid {program['pid']})")


def _port() -> Iterator[Finding]:
    """Somebody else on our port, while our own web server is not there to hold it."""
    port = os.environ.get("BERTH_PORT", "8000")
    if "web" in _supervised():
        return
    listeners = ["ss", "-Hltnp", f"sport = :{port}"]
    holder = subprocess.run(  # noqa: S603 (a fixed command)
        listeners, capture_output=True, text=True, timeout=10, check=False
    ).stdout
    if holder.strip():
        advice = f"Stop it, or choose another port: BERTH_PORT={int(port) + 80} ./run"
        yield Finding(Level.FAIL, "port", f"{port} is taken: {' '.join(holder.split())}", advice)


def _bell() -> Iterator[Finding]:
    """Broker and worker, as /readyz sees them."""
    found = health.readiness()
    for name, advice in BELL_ADVICE.items():
        if found[name].ok:
            yield Finding(Level.OK, name, "it answers")
        else:
            yield Finding(Level.FAIL, name, found[name].detail, advice)


def _hosts() -> Iterator[Finding]:
    hosts = list(Host.objects.all())
    if not hosts:
        yield Finding(Level.FAIL, "hosts", "there is none", "Run: .venv/bin/python manage.py seed")
    for host in hosts:
        yield from _host(host)
        if host.checked_at:
            yield from _accelerators(host)
            yield from _pool(host)


def _host(host: Host) -> Iterator[Finding]:
    subject = f"host {host.name}"
    if host.health == "ready":
        yield Finding(Level.OK, subject, f"libvirt {host.libvirt_version}, QEMU {host.qemu_version}; it answers")
    elif host.checked_at is None and host.last_error:
        advice = "See log/worker.log; then check the host again on its page."
        yield Finding(Level.FAIL, subject, f"it could not be looked at: {host.last_error}", advice)
    elif host.checked_at is None:
        yield Finding(Level.WARN, subject, "it is being looked at for the first time", "Look again in a minute.")
    elif host.is_off_on_purpose:
        yield Finding(Level.OK, subject, "it is in maintenance and does not answer")
    elif host.health == "unreachable":
        advice = f"Try: virsh -c {host.uri} uri; on this machine ./run starts libvirt."
        yield Finding(Level.FAIL, subject, f"libvirt has not answered since {host.seen_at}. {host.last_error}", advice)
    else:
        yield Finding(Level.FAIL, subject, host.last_error, "No guest can run there; see the verdicts below.")


def _accelerators(host: Host) -> Iterator[Finding]:
    verdicts = {verdict["accelerator"]: verdict for verdict in host.verdicts}
    kvm = verdicts.get("kvm")
    if kvm is None:
        return
    if kvm["usable"]:
        yield Finding(Level.OK, f"KVM on {host.name}", f"a trivial guest ran within {kvm['seconds']:.1f} s")
        return
    advice = "Machines run emulated (TCG), many times slower. Enable virtualisation in the firmware, or nested"
    advice += " virtualisation where this is a virtual machine itself; then check the host again on its page."
    yield Finding(Level.WARN, f"KVM on {host.name}", f"it does not work: {kvm['detail']}", advice)


def _pool(host: Host) -> Iterator[Finding]:
    subject = f"pool {host.pool_name} on {host.name}"
    pool = next((pool for pool in host.pools if pool["name"] == host.pool_name), None)
    if pool is None:
        yield Finding(Level.FAIL, subject, "it is not there", "Check the host again on its page, which makes the pool.")
        return
    used = 100 - 100 * pool["available_bytes"] / max(pool["capacity_bytes"], 1)
    text = f"{used:.0f}% are used, {pool['available_bytes'] / GIB:.1f} GiB are free"
    if used >= POOL_FAIL_PERCENT:
        yield Finding(
            Level.FAIL, subject, text, "Writes of machines will fail: delete machines or grow the file system."
        )
    elif used >= POOL_WARN_PERCENT:
        yield Finding(Level.WARN, subject, text, "Disks are thin and grow as they are written: make room soon.")
    else:
        yield Finding(Level.OK, subject, text)


def _images() -> Iterator[Finding]:
    images = list(Image.objects.unscoped("doctor").filter(is_active=True))
    if not images:
        yield Finding(Level.FAIL, "images", "there is none", "Run ./run, which builds the starter image.")
    for image in images:
        if image_store.path(image).is_file():
            yield Finding(Level.OK, f"image {image.slug}", "its file is there")
        else:
            advice = "Add the image again, or run ./run for the starter image."
            yield Finding(Level.FAIL, f"image {image.slug}", f"{image_store.path(image)} is missing", advice)
