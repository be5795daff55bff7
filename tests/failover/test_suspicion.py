"""From silence to suspicion: what is asked, what is noted, and who is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from hosts import agent_tests, fence_trust, fencing, suspicion
from hosts.driver.memory import MemoryHost
from hosts.models import Cluster, FenceAgent, Host, HostState
from hosts.observe import HostWatcher
from hosts.services.fencing import set_agent
from portal.events.models import Event
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM
from tests.failover.conftest import Agent, goes_silent, vouch_for
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
    goes_silent(host)
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
    goes_silent(host)
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


def test_overdue_agents_are_tested_after_all_were_judged(
    world: World, host: MemoryHost, spare: Host, agent: Agent, silent_for: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    FenceAgent.objects.update(tested_at=timezone.now() - timedelta(hours=1))
    for name in ("third", "fourth"):
        FenceAgent.objects.create(host=make_host(name), agent="fence_test")
    done: list[str] = []
    monkeypatch.setattr(suspicion, "_look_at", lambda host, *args: done.append("judged"))
    monkeypatch.setattr(suspicion, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(agent_tests, "note", lambda host, tried: done.append(host.name))
    suspicion.go_round()
    assert done[:4] == ["judged"] * 4
    assert set(done[4:]) == {"fourth", "third"}, "those that never were go first"
    FenceAgent.objects.exclude(host=world.host).update(tested_at=timezone.now(), standing="right")
    done.clear()
    suspicion.go_round()
    assert done == ["judged"] * 4 + ["one"]


def test_agents_that_hang_are_waited_for_together(
    world: World, host: MemoryHost, spare: Host, agent: Agent, silent_for: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of hosts that are silent, and those that are tested; hosts without one are judged before."""
    (agent.directory / "fence_test").write_text("#!/bin/sh\nsleep 60\n")
    monkeypatch.setattr(fencing, "STATUS_SECONDS", 1.0)
    for n in range(4):
        FenceAgent.objects.create(host=make_host(f"a{n}"), agent="fence_test")
    for n in range(9):
        make_host(f"z{n}")
    silent_for(**{f"a{n}": 180 for n in range(4)})
    began = time.monotonic()
    suspicion.go_round()
    assert time.monotonic() - began < 4, "and not one second for each of nine"


class TestOneBadAgent:
    """It cannot even be started, and is the first by name."""

    @pytest.fixture(autouse=True)
    def bad(self, world: World, host: MemoryHost, spare: Host, agent: Agent) -> None:
        program = agent.directory / "fence_bad"
        program.write_text("#!/nonexistent/python3\n")
        program.chmod(0o755)
        FenceAgent.objects.filter(host=world.host).update(agent="fence_bad")
        vouch_for(FenceAgent.objects.create(host=spare, agent="fence_test"))
        for name in ("third", "fourth", "fifth"):
            make_host(name)

    def test_other_hosts_are_judged(self, spare: Host, agent: Agent, silent_for: Watch) -> None:
        agent.power = "off"
        silent_for(one=180, spare=180)
        suspicion.go_round()
        spare.refresh_from_db()
        assert spare.suspected_at is not None

    def test_other_agents_are_tested(self, world: World, spare: Host) -> None:
        suspicion.go_round()
        assert FenceAgent.objects.get(host=spare).power == "on"
        assert "could not be run" in FenceAgent.objects.get(host=world.host).problem

    def test_whatever_raises_is_of_that_host_alone(
        self, world: World, spare: Host, agent: Agent, silent_for: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent.power = "off"
        silent_for(one=180, spare=180)
        answers = suspicion.answers

        def raises(host: Host) -> bool | None:
            if host.pk == world.host.pk:
                raise RuntimeError(host.name)
            return answers(host)

        monkeypatch.setattr(suspicion, "answers", raises)
        suspicion.go_round()
        spare.refresh_from_db()
        assert spare.suspected_at is not None


class TestTrust:
    """When what an agent says is a proof: hosts.fence_trust."""

    @pytest.fixture(autouse=True)
    def unknown(self, host: MemoryHost, spare: Host) -> None:
        FenceAgent.objects.update(standing="unknown", standing_of="", tested_at=None)

    def why_not(self) -> str:
        return fence_trust.why_no_proof(FenceAgent.objects.get())

    def is_tested(self) -> None:
        FenceAgent.objects.update(tested_at=None)
        suspicion.go_round()

    def test_it_says_on_while_the_host_answers(self) -> None:
        assert "has not said yet" in self.why_not()
        self.is_tested()
        assert self.why_not() == FenceAgent.objects.get().problem == ""

    def test_not_once_its_program_is_another(self, agent: Agent) -> None:
        self.is_tested()
        (agent.directory / "fence_test").write_text("#!/bin/sh\nif then (\n")
        assert "has not said yet" in self.why_not()

    def test_not_once_it_is_set_again(self, world: World) -> None:
        self.is_tested()
        set_agent(actor=SYSTEM, host=world.host, agent="fence_test", options={})
        assert "has not said yet" in self.why_not()

    def test_one_that_was_wrong_stays_so(self, world: World, host: MemoryHost, agent: Agent) -> None:
        """Through the host's silence, and where it says another thing later."""
        agent.power = "off"
        self.is_tested()
        assert "another machine" in FenceAgent.objects.get().problem
        goes_silent(host, calls=1)
        self.is_tested()
        assert "another machine" in FenceAgent.objects.get().problem
        agent.power = "on"
        self.is_tested()
        assert "another machine" in self.why_not()
        set_agent(actor=SYSTEM, host=world.host, agent="fence_test", options={})
        self.is_tested()
        assert self.why_not() == ""

    def test_a_host_that_has_just_lost_its_power_shows_nothing(
        self, world: World, host: MemoryHost, agent: Agent
    ) -> None:
        """It was seen a moment ago, and the agent is right that it is off."""
        self.is_tested()
        agent.power = "off"
        goes_silent(host)
        assert world.host.is_reachable
        self.is_tested()
        assert self.why_not() == ""
        FenceAgent.objects.update(standing="unknown")
        agent.power = "on"
        self.is_tested()
        assert "has not said yet" in self.why_not()

    def test_its_address_speaks_against_it_too(
        self, agent: Agent, silent_for: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.is_tested()
        agent.power = "off"
        monkeypatch.setattr(suspicion, "answers", lambda host: True)
        silent_for(one=180)
        suspicion.go_round()
        assert "another machine" in self.why_not()

    def test_it_is_no_second_sign_without(self, world: World, agent: Agent, silent_for: Watch) -> None:
        FenceAgent.objects.update(tested_at=timezone.now())
        agent.power = "off"
        silent_for(one=180)
        suspicion.go_round()
        world.host.refresh_from_db()
        assert world.host.suspected_at is None
        assert "no proof" in world.host.suspicion

    def test_what_is_unknown_is_asked_again_soon(self, agent: Agent) -> None:
        FenceAgent.objects.update(tested_at=timezone.now() - timedelta(minutes=2))
        suspicion.go_round()
        FenceAgent.objects.update(tested_at=timezone.now() - timedelta(minutes=2))
        suspicion.go_round()
        assert agent.calls.count("action=status") == 1


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

    @pytest.mark.parametrize("uri", ["qemu+tls://one:99999/system", "qemu+ssh://a..b/system", "qemu+ssh://[::1/system"])
    def test_what_is_no_address_says_nothing(self, uri: str) -> None:
        assert suspicion.answers(Host(uri=uri)) is None

    def test_a_socket_has_none(self) -> None:
        assert suspicion.answers(Host(uri="qemu+unix:///system?socket=/run/x")) is None

    def test_silence_is_silence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*args: object, **options: object) -> None:
            raise TimeoutError

        monkeypatch.setattr(suspicion.socket, "create_connection", refuse)
        assert suspicion.answers(Host(uri="qemu+ssh://10.9.9.9/system")) is False
