"""From silence to suspicion: what is asked, what is noted, and who is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from hosts import suspicion
from hosts.driver.memory import MemoryHost
from hosts.models import Cluster, FenceAgent, Host, HostState
from hosts.observe import HostWatcher
from portal.events.models import Event
from portal.operations.models import Operation
from tests.failover.conftest import Agent, goes_silent
from tests.world import World, make_host

pytestmark = pytest.mark.django_db
Watch = Callable[..., None]


@pytest.fixture
def silent_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`silent_for(host=180)`: by name of host the seconds; others answer."""

    def set_silences(**seconds: float) -> None:
        by_id = {Host.objects.get(name=name).pk: value for name, value in seconds.items()}
        monkeypatch.setattr(suspicion, "silence_of", lambda id: by_id.get(id, 0.0))

    return set_silences


def kinds() -> list[str]:
    rows = Event.objects.unscoped("test").filter(kind__in=["host.suspected", "host.trusted"])
    return list(rows.order_by("at", "id").values_list("kind", flat=True))


def policy(**values: object) -> None:
    Cluster.objects.update(**values)


def test_two_signs_make_a_suspicion_and_an_answer_ends_it(
    world: World, host: MemoryHost, spare: Host, agent: Agent, silent_for: Watch
) -> None:
    agent.power = "off"
    silent_for(one=180)
    suspicion.go_round()
    suspicion.go_round()
    world.host.refresh_from_db()
    assert world.host.suspected_at is not None
    assert "power is off" in world.host.suspicion
    assert kinds() == ["host.suspected"]
    assert not Operation.objects.unscoped("test").exists(), "the policy is off"
    silent_for()
    suspicion.go_round()
    world.host.refresh_from_db()
    assert (world.host.suspected_at, world.host.suspicion) == (None, "")
    assert kinds() == ["host.suspected", "host.trusted"]


@pytest.mark.parametrize(("seconds", "power"), [(60, "off"), (180, "on")])
def test_one_sign_does_not(
    world: World, host: MemoryHost, spare: Host, agent: Agent, silent_for: Watch, seconds: int, power: str
) -> None:
    agent.power = power
    silent_for(one=seconds)
    suspicion.go_round()
    world.host.refresh_from_db()
    assert world.host.suspected_at is None
    assert bool(world.host.suspicion) is (seconds > 120), "long silence is told of"


def test_automatic_begins_once(world: World, host: MemoryHost, spare: Host, agent: Agent, silent_for: Watch) -> None:
    policy(failover="automatic")
    agent.power = "off"
    silent_for(one=180)
    suspicion.go_round()
    suspicion.go_round()
    assert [each.kind for each in Operation.objects.unscoped("test").all()] == ["host.failover"]


def test_where_most_are_silent_nothing_is_done(
    world: World, host: MemoryHost, spare: Host, agent: Agent, silent_for: Watch
) -> None:
    policy(failover="automatic")
    agent.power = "off"
    silent_for(one=180, spare=180)
    suspicion.go_round()
    world.host.refresh_from_db()
    assert world.host.suspected_at is None
    assert "cut off" in world.host.suspicion
    assert not Operation.objects.unscoped("test").exists()


def test_maintenance_may_be_silent(
    world: World, host: MemoryHost, spare: Host, agent: Agent, silent_for: Watch
) -> None:
    agent.power = "off"
    Host.objects.filter(pk=world.host.pk).update(state=HostState.MAINTENANCE)
    silent_for(one=180)
    suspicion.go_round()
    assert kinds() == []


def test_a_failed_host_that_answers_is_taken_back(world: World, host: MemoryHost, spare: Host) -> None:
    now = timezone.now()
    Host.objects.filter(pk=world.host.pk).update(state=HostState.FAILED, failed_at=now, seen_at=None)
    suspicion.go_round()
    assert not Operation.objects.unscoped("test").exists()
    Host.objects.filter(pk=world.host.pk).update(seen_at=timezone.now())
    suspicion.go_round()
    assert [each.kind for each in Operation.objects.unscoped("test").all()] == ["host.return"]


def test_one_short_answer_is_not_enough_to_be_taken_back(world: World, host: MemoryHost, spare: Host) -> None:
    """It was dead again before anybody came to clear it; its machines go on being recovered."""
    failed_at = timezone.now() - timedelta(minutes=10)
    seen_at = failed_at + timedelta(seconds=5)
    Host.objects.filter(pk=world.host.pk).update(state=HostState.FAILED, failed_at=failed_at, seen_at=seen_at)
    suspicion.go_round()
    assert not Operation.objects.unscoped("test").exists()


def test_an_agent_is_tested_before_it_is_needed(world: World, host: MemoryHost, agent: Agent) -> None:
    agent.power = "off"
    suspicion.go_round()
    found = FenceAgent.objects.get()
    assert found.power == "off"
    assert "another machine" in found.problem
    suspicion.go_round()
    assert agent.calls.count("action=status") == 1


def test_one_overdue_agent_is_tested_in_each_round_after_all_were_judged(
    world: World, host: MemoryHost, spare: Host, agent: Agent, silent_for: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    FenceAgent.objects.update(tested_at=timezone.now() - timedelta(hours=1))
    for name in ("third", "fourth"):
        FenceAgent.objects.create(host=make_host(name), agent="fence_test")
    done: list[str] = []
    monkeypatch.setattr(suspicion, "_look_at", lambda host, *args: done.append("judged"))
    monkeypatch.setattr(suspicion, "_test_agent", lambda host: done.append(host.name))
    suspicion.go_round()
    assert done == ["judged"] * 4 + ["fourth"]
    FenceAgent.objects.exclude(host=world.host).update(tested_at=timezone.now())
    done.clear()
    suspicion.go_round()
    assert done == ["judged"] * 4 + ["one"]


@pytest.mark.parametrize(("failover", "begun"), [("automatic", []), ("eager", ["host.failover"])])
def test_silence_on_one_way_while_the_power_is_on(
    world: World,
    host: MemoryHost,
    spare: Host,
    agent: Agent,
    silent_for: Watch,
    monkeypatch: pytest.MonkeyPatch,
    failover: str,
    begun: list[str],
) -> None:
    policy(failover=failover)
    monkeypatch.setattr(suspicion, "answers", lambda host: False)
    silent_for(one=180)
    suspicion.go_round()
    assert [each.kind for each in Operation.objects.unscoped("test").all()] == begun
    world.host.refresh_from_db()
    assert (world.host.suspected_at is not None) is bool(begun)


def test_the_watcher_counts_only_what_failed(world: World, host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("hosts.observe.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    watcher = HostWatcher(world.host, threading.Event())
    goes_silent(host, calls=3)
    for _ in range(3):
        watcher._guarded_turn()
    assert suspicion.silence_of(world.host.pk) == 20
    watcher._guarded_turn()
    assert suspicion.silence_of(world.host.pk) == 0


class TestAddress:
    @pytest.fixture
    def port(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]

    def test_one_that_takes_connections_answers(self, port: int) -> None:
        assert suspicion.answers(Host(uri=f"qemu+tcp://127.0.0.1:{port}/system")) is True

    def test_one_that_refuses_them_is_alive(self, port: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            closed = server.getsockname()[1]
        assert suspicion.answers(Host(uri=f"qemu+tcp://127.0.0.1:{closed}/system")) is True

    def test_a_socket_has_none(self) -> None:
        assert suspicion.answers(Host(uri="qemu+unix:///system?socket=/run/x")) is None

    def test_silence_is_silence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **options: object) -> None:
            raise TimeoutError

        monkeypatch.setattr(suspicion.socket, "create_connection", refuse)
        assert suspicion.answers(Host(uri="qemu+ssh://10.9.9.9/system")) is False
