"""One request id runs from the HTTP answer through the worker to the calls on the host."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stack import Stack

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


def lines(stack: Stack, part: str) -> list[dict[str, Any]]:
    """Those that are JSON; Celery greets in plain text."""
    text = (stack.data / f"{part}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_request_can_be_followed_to_the_host(stack: Stack) -> None:
    secret = "correct-horse-battery-staple"
    body = {
        "name": "traced",
        "image": "tiny",
        "flavor": "nano",
        "tenant": "demo",
        "user_data": f"#!/bin/sh\n#{secret}\n",
    }
    headers = {"X-Request-ID": "trace-0123456789"}
    answer = stack.api("POST", "/vms", body, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["X-Request-ID"] == headers["X-Request-ID"]
    accepted = answer.json()
    assert stack.finished(accepted["operation"])["status"] == "succeeded"
    stack.delete(accepted["vm"])
    mine = [line for line in lines(stack, "worker") if line.get("request_id") == headers["X-Request-ID"]]
    calls = {line["call"]: line for line in mine if line["event"] == "host call"}
    assert {"ensure_overlay", "upload", "define", "start"} <= set(calls)
    assert calls["define"]["operation_id"] == accepted["operation"]["id"]
    assert (calls["define"]["step"], calls["define"]["outcome"]) == ("define", "ok")
    for part in ("web", "worker", "beat", "observer"):
        text = (stack.data / f"{part}.log").read_text()
        assert secret not in text
        assert stack.token("demo").rsplit("_", 1)[1] not in text


@pytest.mark.parametrize("hostile", ["a b", "x" * 300, "a\tb", '{"a": 1}', "ü"])
def test_a_request_id_of_another_shape_is_not_taken(stack: Stack, hostile: str) -> None:
    headers = {"X-Request-ID": hostile.encode().decode("latin-1")}
    answer = stack.api("GET", "/vms", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["X-Request-ID"] not in (hostile, headers["X-Request-ID"])
