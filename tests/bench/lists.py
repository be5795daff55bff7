"""The list page and the API list with 10 and with 10,000 machines: time and number of queries.

    .venv/bin/python -m tests.bench.lists

Rows are made in a database of its own; nothing runs. What counts is the ratio of 10,000 to
10 in one run, and that the number of queries is the same. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        redis = Path(data) / "redis.sock"
        os.environ.update(BERTH_DATA=data, REDIS_URL=f"unix://{redis}", DJANGO_SETTINGS_MODULE="tests.settings")
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(redis), "--save", ""], stdout=subprocess.DEVNULL
        )
        try:
            print(json.dumps(measure(), indent=2))
        finally:
            server.terminate()


def measure() -> dict[str, Any]:
    import django

    django.setup()
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    setup_test_environment()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    world = World()
    result: dict[str, Any] = {}
    for count in (10, 10_000):
        world.fill(count)
        result[str(count)] = {name: timed(call) for name, call in world.calls().items()}
    result["ratio"] = {
        name: round(result["10000"][name]["median_ms"] / result["10"][name]["median_ms"], 2) for name in result["10"]
    }
    return result


def timed(call: Callable[[], Any]) -> dict[str, Any]:
    from django.db import connection

    queries: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        queries.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        answer = call()
    assert answer.status_code == 200, answer.content[:500]
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return {"median_ms": round(statistics.median(times), 1), "queries": len(queries), "bytes": len(answer.content)}


class World:
    """A tenant on one host that exists only as a row."""

    def __init__(self) -> None:
        from django.test import Client

        from hosts.models import Host
        from hosts.services.clusters import default_cluster
        from portal.accounts import tokens
        from portal.accounts.models import User
        from portal.tenancy.gate import SYSTEM
        from portal.tenancy.services import create_tenant, set_member
        from vms.models import Flavor, Image

        self.user = User.objects.create_user("demo", password="unused-password")
        self.tenant = create_tenant(actor=SYSTEM, name="Demo", slug="demo")
        set_member(actor=SYSTEM, tenant=self.tenant, username="demo", role="owner")
        facts = {"accelerator": "qemu", "cpus": 2, "memory_mib": 8192}
        self.host = Host.objects.create(name="local", uri="memory://bench", cluster=default_cluster(), **facts)
        self.flavor = Flavor.objects.create(slug="nano", name="Nano", vcpus=1, memory_mib=128, disk_gib=1)
        self.image = Image.objects.create(
            slug="tiny",
            name="tiny",
            os="Linux",
            default_user="tiny",
            size_bytes=1,
            virtual_size_bytes=1,
            sha256="0" * 64,
        )
        self.client = Client()
        self.client.force_login(self.user)
        self.headers = {"Authorization": f"Bearer {tokens.issue(user=self.user, name='bench', scopes=['*'])[1]}"}

    def fill(self, count: int) -> None:
        from vms.models import VM, Lifecycle, Nic, Power

        have = VM.objects.unscoped("bench").count()
        rows = [
            VM(
                tenant=self.tenant,
                name=f"vm-{number}",
                flavor=self.flavor,
                image=self.image,
                host=self.host,
                vcpus=1,
                memory_mib=128,
                disk_gib=1,
                lifecycle=Lifecycle.READY,
                observed_power=Power.RUNNING,
                created_by="bench",
            )
            for number in range(have, count)
        ]
        VM.objects.bulk_create(rows, batch_size=1000)
        Nic.objects.bulk_create(
            (
                Nic(
                    vm=vm,
                    cluster=self.host.cluster,
                    mac=f"{number:012x}",
                    ip=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
                )
                for number, vm in enumerate(rows, start=have)
            ),
            batch_size=1000,
        )

    def calls(self) -> dict[str, Callable[[], Any]]:
        last = self._last_page()
        return {
            "page": lambda: self.client.get("/t/demo/vms/"),
            "page_search": lambda: self.client.get("/t/demo/vms/?q=vm-7"),
            "api": lambda: self.client.get("/api/v1/vms?limit=50", headers=self.headers),
            "api_last": lambda: self.client.get(last, headers=self.headers),
        }

    def _last_page(self) -> str:
        """The address of the last page of the API's list, found by walking it."""
        url = "/api/v1/vms?limit=100"
        while following := self.client.get(url, headers=self.headers).json()["next"]:
            url = following
        return url


if __name__ == "__main__":
    sys.exit(main())
