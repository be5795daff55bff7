"""What a call to a host leaves in the log, and for whom."""

from __future__ import annotations

import time
from uuid import UUID

import pytest
import structlog
from structlog.contextvars import bound_contextvars, get_contextvars
from structlog.testing import capture_logs
from structlog.typing import EventDict

from hosts import connections
from hosts.connections import driver_for
from hosts.driver import errors
from hosts.driver.kvm.connection import in_thread
from hosts.models import Host

NOBODY = UUID(int=7)


def called(host: Host, name: str, *arguments: object) -> list[EventDict]:
    """The lines that one call leaves, however it ends."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as found:
        try:
            getattr(driver_for(host), name)(*arguments)
        except Exception as error:
            found.append({"raised": type(error)})
    return list(found)


@pytest.fixture
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(connections, "log", structlog.get_logger("uncached"))
    return Host(name="lab", uri=f"memory://{request.node.name}")


def test_a_change_is_a_line_with_the_ids_of_its_request(host: Host) -> None:
    with bound_contextvars(request_id="r-1", operation_id="o-1", step="undefine"):
        (line,) = called(host, "undefine", NOBODY)
    assert {"host": "lab", "call": "undefine", "outcome": "ok"}.items() <= line.items()
    assert {"request_id": "r-1", "operation_id": "o-1", "step": "undefine"}.items() <= line.items()
    assert 0 <= line["seconds"] < 1


def test_a_quick_look_is_no_line(host: Host) -> None:
    assert called(host, "state", NOBODY) == []


def test_a_slow_look_is_a_line(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_for(host)._driver, "state", lambda uuid: time.sleep(0.02))
    monkeypatch.setattr(connections, "SLOW_SECONDS", 0.01)
    (line,) = called(host, "state", NOBODY)
    assert (line["call"], line["outcome"]) == ("state", "ok")
    assert line["seconds"] >= 0.02


@pytest.mark.parametrize(
    ("error", "outcome"), [(errors.Unreachable("gone"), "host_unreachable"), (KeyError("bug"), "internal_error")]
)
def test_a_failure_is_a_line_that_says_how(
    host: Host, error: Exception, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(uuid: UUID) -> None:
        raise error

    monkeypatch.setattr(driver_for(host)._driver, "state", fail)
    line, raised = called(host, "state", NOBODY)
    assert line["outcome"] == outcome
    assert raised == {"raised": type(error)}


def test_the_thread_of_a_call_knows_whose_it_is() -> None:
    with bound_contextvars(request_id="r-2"):
        assert in_thread(get_contextvars, "test").result(5)["request_id"] == "r-2"
    assert "request_id" not in in_thread(get_contextvars, "test").result(5)
