"""The guarantee card and the graphs' numbers, in the API and on pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hosts import usage as of_hosts
from hosts.metering import Sample, Used
from hosts.models import Host
from hosts.overcommit import OverCommit
from hosts.service_class import ServiceClass
from portal.tenancy.gate import SYSTEM
from tests.web.conftest import Browser, browser  # noqa: F401  the fixture
from tests.world import World
from vms import promise_words, usage
from vms.models import VM, Flavor
from vms.services.catalogue import Class, create_flavor


def promised(world: World, floor: int | None = 50) -> None:
    VM.objects.unscoped("test").filter(pk=world.machines["web"].pk).update(
        service_class="guaranteed", cpu_floor=floor, tuning={"shares": 5120}
    )


def minutes(world: World, count: int, cpu_ms: int, wait_ms: int, until: datetime | None = None) -> None:
    now = (until or timezone.now()).replace(second=0, microsecond=0)
    for number in range(count):
        used = {world.machines["web"].pk: Used(cpu_ms, wait_ms, 90, read_bytes=6000)}
        at = now - timedelta(minutes=number + 1)
        sample = Sample(at, 60_000, Used(cpu_ms=cpu_ms, memory_mib=900), used)
        usage.take_sample(world.host, sample)
        of_hosts.record(world.host, sample)


def card(world: World, person: str = "viewer") -> dict[str, Any]:
    answer = world.caller(person).get(f"vms/{world.machines['web'].pk}/guarantee")
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.parametrize(
    ("cpu", "wait", "kept"),
    [(30_000, 200, "kept"), (31_000, 29_000, "at risk"), (15_000, 45_000, "broken")],
)
def test_what_was_measured_against_the_promise(world: World, cpu: int, wait: int, kept: str) -> None:
    promised(world)
    minutes(world, 5, cpu, wait)
    waiting = card(world)["waiting"]
    assert waiting["kept"] == kept
    assert waiting["hours"][-1]["kept"] == kept
    assert waiting["waited_percent"] == pytest.approx(100 * wait / (cpu + wait), abs=0.1)
    assert "five minutes" in waiting["words"]


def test_the_history_tells_what_is_over(world: World) -> None:
    promised(world)
    minutes(world, 30, 10_000, 50_000, until=timezone.now() - timedelta(hours=3))
    minutes(world, 5, 30_000, 0)
    waiting = card(world)["waiting"]
    assert waiting["kept"] == "kept"
    assert "broken" in [hour["kept"] for hour in waiting["hours"]]


def test_nothing_measured_and_nothing_promised(world: World) -> None:
    assert card(world)["waiting"]["kept"] == "not measured"
    minutes(world, 2, 10_000, 50_000)
    found = card(world)
    assert (found["cpu_floor"], found["waiting"]["kept"]) == (None, "nothing promised")


def test_the_rest_of_the_card(world: World, able: Host) -> None:
    promised(world)
    world.schedule(kind="backup", target=world.target().pk, keep_last=7)
    world.backup()
    found = card(world)
    assert found["words"]["floor"].startswith("50 % of a CPU")
    (cluster,) = found["over_commit"]
    assert (cluster["hosts"], cluster["given"], cluster["most"]) == (1, 0.62, 6.25)
    assert "disks lie on its host alone" in found["on_host_failure"]
    assert found["backups"]["schedules"] == ["Daily at 03:00 UTC, 7 kept"]
    assert found["backups"]["newest"] is not None


def test_of_a_size(world: World, able: Host) -> None:
    size = {"vcpus": 2, "memory_mib": 128, "disk_gib": 1}
    create_flavor(actor=SYSTEM, slug="slow", name="Slow", promised=Class("burstable", cpu_ceiling=50), **size)
    found = world.caller("viewer").get("flavors/slow/guarantee").json()
    assert (found["service_class"], found["cpu_floor"], found["cpu_ceiling"]) == ("burstable", 12, 50)
    assert found["words"]["ceiling"].startswith("50 % of a CPU for each of its vCPUs")
    assert (found["waiting"], found["backups"]) == (None, None)


def test_metrics_are_rates_with_gaps(world: World) -> None:
    minutes(world, 2, 30_000, 6_000)
    minutes(world, 2, 12_000, 0, until=timezone.now() - timedelta(minutes=10))
    answer = world.caller("viewer").get(f"vms/{world.machines['web'].pk}/metrics")
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body["step"] == 60
    assert body["cpu_percent"] == [20, 20, None, 50, 50]
    assert body["wait_percent"][-1] == 10
    assert body["read_bytes_s"][0] == 100
    assert all(len(body[name]) == 5 for name in ("at", "memory_mib", "sent_bytes_s"))
    assert world.caller("viewer").get(f"vms/{world.machines['web'].pk}/metrics?span=year").status_code == 400
    of_host = world.caller("auditor").get("hosts/one/metrics?span=day").json()
    assert len(of_host["at"]) == 5


def test_as_many_queries_for_a_month_as_for_a_minute(world: World) -> None:
    caller, path = world.caller("viewer"), f"vms/{world.machines['web'].pk}/metrics?span=day"
    caller.get(path)  # notes when the token was last used
    counts = []
    for number in (1, 200):
        minutes(world, number, 1000, 0)
        with CaptureQueriesContext(connection) as queries:
            caller.get(path)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_how_cpus_are_shared_is_said_with_the_number() -> None:
    busy, idle = OverCommit("Rack 1", 2, 3.2, 8.0, 40), OverCommit("Rack 1", 2, 0.5, 8.0, 40)
    assert promise_words.cpu_shared(busy) == "On its hosts 3.2 vCPUs share each CPU now; at most 8 may."
    assert "0.5 vCPUs for each CPU now, so nobody has to share yet" in promise_words.cpu_shared(idle)
    assert promise_words.cpu_shared(busy, named=True).startswith("On the hosts of Rack 1 3.2")
    assert "no machine runs" in promise_words.cpu_shared(OverCommit("Rack 1", 0, 0, 0, 0))
    promise = Flavor(service_class="guaranteed", vcpus=2, memory_mib=1, disk_gib=1).promise()
    assert "gets 50 % of a CPU for each vCPU for certain" in promise_words.meaning(promise, 50)
    assert promise_words.meaning(promise, 50, 4.0).endswith("Of its class at most 4 share one.")
    assert "still gets all that it has" in promise_words.meaning(promise, 100)
    assert "have to wait long" in promise_words.meaning(replace(promise, service_class=ServiceClass.BEST_EFFORT), None)
    assert "not concerned" in promise_words.meaning(replace(promise, service_class=ServiceClass.DEDICATED), 100)


class TestPages:
    def test_a_machine_shows_its_card(self, world: World, browser: Browser) -> None:  # noqa: F811
        promised(world)
        minutes(world, 5, 15_000, 45_000)
        page = browser("viewer").get(f"/t/acme/vms/{world.machines['web'].pk}/").content.decode()
        assert "It got less than is guaranteed" in page
        assert "In the one hour that was measured: broken." in page
        assert "strip__cell--failed" in page
        assert "When all want to run at once it gets 50 % of a CPU for certain" in page
        assert (
            "Guarantee"
            not in browser("viewer").get(f"/t/acme/vms/{world.machines['web'].pk}/metrics/").content.decode()
        )

    def test_each_size_shows_its_own(self, world: World, browser: Browser) -> None:  # noqa: F811
        page = browser("viewer").get("/t/acme/sizes/").content.decode()
        assert page.count("CPU guaranteed") == 2
        assert page.count("When all are busy") == 2
        assert page.count("CPUs are shared") == page.count("If a host fails") == 1

    def test_as_many_queries_for_many_sizes(self, world: World, browser: Browser) -> None:  # noqa: F811
        client, counts = browser("viewer"), []
        client.get("/t/acme/sizes/")
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                client.get("/t/acme/sizes/")
            counts.append(len(queries))
            for number in range(10):
                size = {"vcpus": 1, "memory_mib": 128 + number, "disk_gib": 1}
                create_flavor(actor=SYSTEM, slug=f"more-{len(counts)}-{number}", name="More", **size)
        assert counts[0] == counts[1]

    def test_an_administrator_changes_a_class(self, world: World, browser: Browser) -> None:  # noqa: F811
        url = f"/provider/flavors/{world.flavor.pk}/class/"
        client = browser("admin")
        assert client.post(url, {"service_class": "dedicated", "cpu_floor": "50"}).status_code == 422
        answer = client.post(url, {"service_class": "guaranteed", "cpu_floor": "70"})
        assert answer.status_code == 302
        world.flavor.refresh_from_db()
        assert (world.flavor.service_class, world.flavor.cpu_floor) == ("guaranteed", 70)
