#!/usr/bin/env python3
"""An inventory that follows Berth: which machines there are, whose, and of what size, by events alone.

    BERTH=https://berth.example.org/api/v1 TOKEN=berth_… SECRET=whsec_… python inventory.py 8090

It keeps one number: the `sequence` of the last event that it has applied. A webhook tells it quickly; whatever the
webhook did not tell, it reads from `GET /events?after=`. So it may lose messages, get them twice, or begin anew.
Needs `requests` and `standardwebhooks`. A billing system is built alike: replace `apply`.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import requests
from standardwebhooks import Webhook, WebhookVerificationError


class Inventory:
    """`machines` by id, as the events up to `sequence` leave them."""

    def __init__(self, api: str, token: str) -> None:
        self.api, self.headers = api, {"Authorization": f"Bearer {token}"}
        self.machines: dict[str, dict[str, Any]] = {}
        self.sequence = 0

    def take(self, message: dict[str, Any]) -> None:
        """A verified message. What is known already is passed over; where something is missing, it is read first."""
        if message["sequence"] <= self.sequence:
            return
        if message["previous"] > self.sequence:
            self.catch_up()
        else:
            self.apply(message["data"])

    def catch_up(self) -> None:
        """All that came after `sequence`, in the same order. With 0, everything: that is a rebuild."""
        url: str | None = f"{self.api}/events?after={self.sequence}&limit=100"
        while url:
            page = requests.get(url, headers=self.headers, timeout=30)
            page.raise_for_status()
            for event in page.json()["results"]:
                self.apply(event)
            url = page.json()["next"]

    def apply(self, event: dict[str, Any]) -> None:
        if event["sequence"] <= self.sequence:
            return
        kind, id, after = event["kind"], event["target"]["id"], event["data"].get("after") or {}
        if kind in ("vm.create.requested", "vm.resized"):
            size = {name: after[name] for name in ("vcpus", "memory_mib", "disk_gib") if name in after}
            machine = self.machines.setdefault(id, {"tenant": event["tenant"], "name": event["target"]["name"]})
            machine.update(size)
        elif kind == "vm.renamed" and id in self.machines:
            self.machines[id]["name"] = after["name"]
        elif kind in ("vm.create.failed", "vm.create.cancelled", "vm.purge.succeeded"):
            self.machines.pop(id, None)
        self.sequence = event["sequence"]


def serve(inventory: Inventory, secret: str, port: int) -> None:
    """Answer 2xx only for what was verified and applied: everything else is sent again."""
    verifier = Webhook(secret)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                inventory.take(verifier.verify(body, dict(self.headers)))
            except WebhookVerificationError:
                self.send_response(401)
            else:
                self.send_response(204)
            self.end_headers()

    HTTPServer(("", port), Handler).serve_forever()


if __name__ == "__main__":
    found = Inventory(os.environ["BERTH"], os.environ["TOKEN"])
    found.catch_up()
    sys.stderr.write(f"{len(found.machines)} machines\n")
    serve(found, os.environ["SECRET"], int(sys.argv[1]))
