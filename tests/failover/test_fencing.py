"""What is run to cut a host's power, and what nobody can make Berth run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from hosts import fencing
from hosts.failure import Power
from hosts.fencing import FencingError
from hosts.models import FenceAgent
from hosts.services.fencing import remove_agent, set_agent
from hosts.web.fencing import FenceAgentForm
from portal.core import sealed
from portal.core.errors import Forbidden, Invalid
from portal.events.models import Event
from portal.tenancy.gate import SYSTEM, Actor
from tests.failover.conftest import Agent
from tests.world import World, make_host

pytestmark = pytest.mark.django_db
SECRET = "canary of fencing"


def agent_of(world: World, **more: Any) -> FenceAgent:
    asked = {"agent": "fence_test", "options": {"ip": "10.9.0.1", "username": "berth"}, "password": SECRET, **more}
    return set_agent(actor=SYSTEM, host=world.host, **asked)


def test_it_is_told_on_standard_input_alone(world: World, agent: Agent) -> None:
    found = agent_of(world)
    assert fencing.power(found) is Power.ON
    fencing.cut_power(found)
    assert fencing.power(found) is Power.OFF
    assert agent.calls[:4] == ["ip=10.9.0.1", "username=berth", f"password={SECRET}", "action=status"]
    assert [call for call in agent.calls if call.startswith("action")] == [
        "action=status",
        "action=off",
        "action=status",
    ]


def test_a_secret_is_nowhere_but_there(world: World, agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        fencing.power(agent_of(world))
    row = FenceAgent.objects.get()
    assert SECRET not in f"{caplog.text}{row.password}{row.options}"
    assert SECRET not in str(list(Event.objects.unscoped("test").values_list("data", flat=True)))
    assert sealed.unseal(row.password) == SECRET


def test_one_that_hangs_is_ended(world: World, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    (agent.directory / "fence_test").write_text("#!/bin/sh\nsleep 600\n")
    monkeypatch.setattr(fencing, "STATUS_SECONDS", 0.2)
    with pytest.raises(FencingError, match="did not end"):
        fencing.power(agent_of(world))


def test_one_that_says_nothing_proves_nothing(world: World, agent: Agent) -> None:
    agent.fail("BROKEN")
    with pytest.raises(FencingError, match="could not tell"):
        fencing.power(agent_of(world))


@pytest.mark.parametrize("first_line", ["#!/nonexistent/python3", ""])
def test_one_that_cannot_be_started_proves_nothing(world: World, agent: Agent, first_line: str) -> None:
    (agent.directory / "fence_test").write_text(f"{first_line}\n")
    with pytest.raises(FencingError, match="could not be run"):
        fencing.power(agent_of(world))


def test_its_fingerprint_is_that_of_all_that_is_run_and_told(world: World, agent: Agent) -> None:
    prints = [fencing.fingerprint(agent_of(world))]
    prints.append(fencing.fingerprint(agent_of(world, password="another")))
    prints.append(fencing.fingerprint(agent_of(world, options={"plug": "2"})))
    found = FenceAgent.objects.get()
    with (agent.directory / "fence_test").open("a") as file:
        file.write("exit 2\n")
    prints.append(fencing.fingerprint(found))
    assert len(set(prints)) == 4
    (agent.directory / "fence_test").unlink()
    with pytest.raises(FencingError):
        fencing.fingerprint(found)


@pytest.mark.parametrize("name", ["fence_other", "../fence_test", "sh", "fence_test --help", "", "fence_writable"])
def test_only_the_owners_programs_are_run(world: World, agent: Agent, name: str) -> None:
    """Also where somebody wrote the row past the service."""
    writable = agent.directory / "fence_writable"
    writable.write_text("#!/bin/sh\n")
    writable.chmod(0o777)
    with pytest.raises(Invalid):
        agent_of(world, agent=name)
    with pytest.raises(FencingError):
        fencing.power(FenceAgent(host=world.host, agent=name))


def test_a_directory_that_others_write_to_has_none(agent: Agent) -> None:
    agent.directory.chmod(0o777)
    assert fencing.agents() == []


def test_no_directory_has_none(settings: Any, tmp_path: Path) -> None:
    settings.FENCE_AGENTS = str(tmp_path / "missing")
    assert fencing.agents() == []


@pytest.mark.parametrize(
    "options",
    [
        {"ip": "10.0.0.1\naction=on"},
        {"ip": "-o StrictHostKeyChecking=no"},
        {"ip": "host;reboot"},
        {"username": "a b"},
        {"plug": "$(id)"},
        {"ipport": "http"},
        {"action": "on"},
        {"password_script": "/tmp/x"},
        {"debug_file": "/etc/passwd"},
        {"ipmitool_path": "/tmp/x"},
    ],
)
def test_options_carry_nothing_else(world: World, agent: Agent, options: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        agent_of(world, options=options)
    fencing.power(FenceAgent(host=world.host, agent="fence_test", options=options))
    assert agent.calls == ["action=status"], "what was written past the service is left out"


class TestPassword:
    def test_it_stays_while_it_is_told_to_the_same(self, world: World, agent: Agent) -> None:
        agent_of(world)
        kept = agent_of(world, options={"ip": "10.9.0.1", "username": "berth", "plug": "3"}, password=None)
        assert sealed.unseal(kept.password) == SECRET

    def test_it_is_told_to_no_other(self, world: World, agent: Agent) -> None:
        agent_of(world)
        assert agent_of(world, options={"ip": "10.9.0.66", "username": "berth"}, password=None).password == ""

    @pytest.mark.parametrize("name", ["ssl", "ssl_insecure", "lanplus", "cipher"])
    def test_it_is_told_in_no_other_way(self, world: World, agent: Agent, name: str) -> None:
        """Without encryption, say, or to whoever claims to be that address."""
        agent_of(world)
        options = {"ip": "10.9.0.1", "username": "berth", name: "1"}
        assert agent_of(world, options=options, password=None).password == ""

    def test_it_is_one_line(self, world: World, agent: Agent) -> None:
        with pytest.raises(Invalid):
            agent_of(world, password="a\naction=on")

    def test_another_key_opens_nothing(self, world: World, agent: Agent, settings: Any) -> None:
        found = agent_of(world)
        settings.SECRET_KEY = "another"
        with pytest.raises(FencingError, match="another key"):
            fencing.power(found)


def test_who_may_change_it(world: World, agent: Agent) -> None:
    narrow = Actor(world.people["admin"], provider_role="admin", scopes=frozenset({"host:read", "host:write"}))
    for actor in (narrow, Actor(world.people["auditor"], provider_role="auditor"), Actor(world.people["owner"])):
        with pytest.raises(Forbidden):
            set_agent(actor=actor, host=world.host, agent="fence_test", options={})
        with pytest.raises(Forbidden):
            remove_agent(actor=actor, host=world.host)


def test_no_two_hosts_have_one_outlet(world: World, agent: Agent) -> None:
    agent_of(world, options={"ip": "10.9.0.1", "plug": "3"})
    agent_of(world, options={"ip": "10.9.0.1", "plug": "3", "username": "other"})  # its own may be set again
    two, asked = make_host("two"), {"actor": SYSTEM, "agent": "fence_test"}
    with pytest.raises(Invalid, match="cuts the power of one") as refused:
        set_agent(host=two, options={"ip": "10.9.0.1", "plug": "3"}, **asked)
    assert refused.value.field == "plug"
    set_agent(host=two, options={"ip": "10.9.0.1", "plug": "4"}, **asked)
    with pytest.raises(Invalid) as refused:
        set_agent(host=make_host("three"), options={"ip": "10.9.0.1", "plug": "4", "ipport": ""}, **asked)
    assert refused.value.field == "plug"
    set_agent(host=make_host("four"), options={"ip": "10.9.0.1", "plug": "4", "ipport": "6230"}, **asked)


def test_a_form_asks_for_what_the_agent_takes(world: World, agent: Agent, settings: Any) -> None:
    for name in ("fence_lab", "fence_redfish"):
        (agent.directory / name).write_text("#!/bin/sh\n")
        (agent.directory / name).chmod(0o755)
    given = {"agent": "fence_lab", "plug": "lab/1", "ip": "10.9.0.1", "ssl": "1", "password": SECRET}
    form = FenceAgentForm(given)
    assert form.is_valid()
    assert form.asked == {"agent": "fence_lab", "options": {"plug": "lab/1"}, "password": None}
    assert [each.field.name for each in form.of_agents if each.is_shown] == ["plug"]
    assert "fence_redfish" in next(each.agents for each in form.of_agents if each.field.name == "ssl")
    assert not FenceAgentForm({**given, "ssl": "yes"}).is_valid()
