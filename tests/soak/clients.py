"""Clients of the portal: each makes machines, uses them and deletes them, one after the other, until told to stop."""

from __future__ import annotations

import random
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.stack import Stack

FLAVOR = "soak"
LIVES = (  # what may become of a machine between its birth and its end
    (),
    ("pause", "resume"),
    ("force-off", "start"),
    ("reboot",),
    ("force-off",),
    ("force-off", "resize", "start"),
)
PATIENCE_SECONDS = 180


@dataclass
class Record:
    """One operation: when it was asked for and ended (time.monotonic), and how. `end` "" is one that never did."""

    id: str
    kind: str
    asked_at: float
    ended_at: float = 0.0
    end: str = ""
    error: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return self.error.get("code", "")


@dataclass
class Book:
    """What all clients saw. Appending is atomic, so no lock is needed."""

    operations: list[Record] = field(default_factory=list)
    server_errors: list[str] = field(default_factory=list)
    broken_promises: list[str] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)


class Client(threading.Thread):
    def __init__(self, number: int, seed: int, stack: Stack, book: Book, stop: threading.Event) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.stack = stack
        self.book = book
        self._random = random.Random(seed * 1000 + number)
        self._stop_asked = stop
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Bearer {stack.token()}"

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                self._live()
            except (AssertionError, requests.RequestException) as error:
                self.book.broken_promises.append(f"{self.name}: {error!r}")

    def _live(self) -> None:
        """One machine, from birth to death."""
        name = f"s-{secrets.token_hex(4)}"
        body = {"name": name, "image": "tiny", "flavor": FLAVOR, "tenant": "demo"}
        accepted = self._ask("POST", "/vms", body)
        vm_id = accepted["vm"]["id"]
        if self._follow(accepted) != "succeeded":
            gone = self._call("GET", f"/vms/{vm_id}").status_code
            assert gone == 404, f"a create failed and its machine answers {gone}"
            return
        for action in self._random.choice(LIVES):
            body = {"flavor": f"{FLAVOR}-large"} if action == "resize" else {}
            if self._follow(self._ask("POST", f"/vms/{vm_id}/actions/{action}", body)) != "succeeded":
                break
        end = self._follow(self._ask("DELETE", f"/vms/{vm_id}?purge=true"))
        gone = self._call("GET", f"/vms/{vm_id}").status_code
        assert (end, gone) == ("succeeded", 404), f"a delete ended {end}, and the machine answers {gone}"

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """A request for an operation; some are sent again, as by a client whose answer was lost."""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        answer = self._call(method, path, body, key)
        assert answer.status_code == 202, f"{method} {path}: {answer.status_code} {answer.text}"
        if self._random.random() < 0.2:
            again = self._call(method, path, body, key)
            assert again.headers.get("Idempotent-Replayed") == "true", f"{method} {path}: {again.text}"
            assert again.json()["operation"]["id"] == answer.json()["operation"]["id"]
        return dict(answer.json())

    def _follow(self, accepted: dict[str, Any]) -> str:
        operation = accepted["operation"]
        record = Record(operation["id"], operation["kind"], time.monotonic())
        self.book.operations.append(record)
        now: dict[str, Any] = {}
        while time.monotonic() < record.asked_at + PATIENCE_SECONDS:
            now = self._call("GET", f"/operations/{record.id}?wait=10").json()
            if now.get("status") in ("succeeded", "failed", "cancelled"):
                record.ended_at, record.end = time.monotonic(), now["status"]
                record.error = now["error"] or {}
                return record.end
        raise AssertionError(f"no end of {record.kind} {record.id} within {PATIENCE_SECONDS} s: {now}")

    def _call(self, method: str, path: str, body: Any = None, headers: Any = None) -> requests.Response:
        begun = time.monotonic()
        answer = self._http.request(method, f"{self.stack.url}/api/v1{path}", json=body, headers=headers, timeout=60)
        if "wait=" not in path:
            self.book.answers.append(time.monotonic() - begun)
        if answer.status_code >= 500:
            self.book.server_errors.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer
