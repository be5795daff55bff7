"""One request id runs from the HTTP answer through the worker to the calls on the host."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
import websockets
from websockets.sync.client import connect

from tests.stack import Stack

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]


def lines(stack: Stack, part: str) -> list[dict[str, Any]]:
    """Those that are JSON; Celery greets in plain text."""
    text = (stack.data / f"{part}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_request_can_be_followed_to_the_host(stack: Stack) -> None:
    body = {"name": "traced", "image": "tiny", "flavor": "nano", "tenant": "demo"}
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


def signed_in(stack: Stack, password: str) -> requests.Session:
    browser = requests.Session()
    page = browser.get(f"{stack.url}/accounts/login/", timeout=20)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token is not None
    form = {"login": "demo", "password": password, "csrfmiddlewaretoken": token[1]}
    browser.post(f"{stack.url}/accounts/login/", form, headers={"Origin": stack.url}, timeout=20)
    return browser


def open_console(stack: Stack, browser: requests.Session, vm: dict[str, Any]) -> str:
    """The ticket, used once with success and once without."""
    headers = {"X-CSRFToken": browser.cookies["berth_csrf"], "Origin": stack.url}
    address = f"{stack.url}/t/demo/vms/{vm['id']}/console/ticket/"
    answer = browser.post(address, {"kind": "serial"}, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    url = urljoin(stack.url, answer.json()["url"]).replace("http", "ws", 1)
    cookie = {"Cookie": f"berth_session={browser.cookies['berth_session']}"}
    with connect(url, origin=websockets.Origin(stack.url), additional_headers=cookie):
        pass
    with pytest.raises(websockets.InvalidStatus):
        connect(url, origin=websockets.Origin(stack.url), additional_headers=cookie)
    return url.rstrip("/").rpartition("/")[2]


def refused(stack: Stack, method: str, path: str, body: Any, **options: Any) -> None:
    assert 400 <= stack.api(method, path, body, **options).status_code < 500


def test_no_secret_reaches_a_log(stack: Stack) -> None:
    """Whether the call that carries it succeeds, is refused, or is nonsense."""
    planted = {name: f"planted-{secrets.token_hex(12)}" for name in ("user data", "wrong password", "refused data")}
    vm = stack.create(user_data=f"#!/bin/sh\n#{planted['user data']}\n")
    body = {"name": "!", "image": "tiny", "flavor": "nano", "tenant": "demo", "user_data": planted["refused data"]}
    refused(stack, "POST", "/vms", body)
    refused(stack, "POST", "/vms", {**body, "user_data": [planted["refused data"]]})
    refused(stack, "GET", "/vms", None, token=f"berth_0_{planted['wrong password']}")
    planted["token"] = stack.token("demo").split("_", 2)[2]
    browser = signed_in(stack, stack.logins["demo"])
    signed_in(stack, planted["wrong password"])
    planted["password"] = stack.logins["demo"]
    planted["session"] = browser.cookies["berth_session"]
    planted["ticket"] = open_console(stack, browser, vm)
    planted["secret key"] = (stack.data / "secret-key").read_text()
    stack.delete(vm)
    logs = {path.name: path.read_text() for path in stack.data.rglob("*.log*") if path.is_file()}
    assert {"web.log", "worker.log", "beat.log", "observer.log"} <= set(logs)
    assert "vm.create" in logs["worker.log"], "what is looked through is the log of what was done"
    found = [(name, file) for name, secret in planted.items() for file, text in logs.items() if secret in text]
    assert found == []


@pytest.mark.parametrize("hostile", ["a b", "x" * 300, "a\tb", '{"a": 1}', "ü"])
def test_a_request_id_of_another_shape_is_not_taken(stack: Stack, hostile: str) -> None:
    headers = {"X-Request-ID": hostile.encode().decode("latin-1")}
    answer = stack.api("GET", "/vms", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["X-Request-ID"] not in (hostile, headers["X-Request-ID"])
