"""Messages a second to one webhook and to eight, beside a loop that only POSTs as many bytes to the same server.

    .venv/bin/python -m tests.bench.webhooks

Delivery as it runs: claim, signature, HTTP, and a transaction for each message, on SQLite in a database of its own. The
floor is the same server asked by http.client over one connection. What counts is the ratio, in one run. Prints one JSON
object.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.webhooks.receiver import Receiver, receiving

COUNT, MANY = 500, 8


def main() -> None:
    with tempfile.TemporaryDirectory() as data, receiving() as receiver:
        redis = Path(data) / "redis.sock"
        os.environ.update(BERTH_DATA=data, REDIS_URL=f"unix://{redis}", DJANGO_SETTINGS_MODULE="tests.settings")
        os.environ.update(BERTH_WEBHOOK_URL_HTTP="1", BERTH_WEBHOOK_URL_ALLOW=receiver.place)
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(redis), "--save", ""], stdout=subprocess.DEVNULL
        )
        try:
            print(json.dumps(measure(receiver), indent=2))
        finally:
            server.terminate()


def measure(receiver: Receiver) -> dict[str, Any]:
    import django

    django.setup()
    from django.core.management import call_command

    from portal.events import log
    from portal.tenancy.gate import SYSTEM
    from portal.tenancy.services import create_tenant
    from portal.webhooks import services

    call_command("migrate", verbosity=0)
    found: dict[str, Any] = {"messages": COUNT}
    for webhooks in (1, MANY):
        tenant = create_tenant(actor=SYSTEM, name=f"T{webhooks}", slug=f"t{webhooks}")
        for n in range(webhooks):
            services.create(actor=SYSTEM, tenant=tenant, url=receiver.url, name=f"w{n}", kinds=["vm"])
        for n in range(COUNT):
            log.record("vm.counted", actor=SYSTEM, target=tenant, n=n)
        receiver.taken.clear()
        until_all = partial(until_taken, receiver, COUNT * webhooks)
        found[f"{webhooks}_webhooks_per_second"] = per_second(COUNT * webhooks, until_all)
    body = receiver.taken[-1].raw.encode()
    floor = per_second(COUNT, lambda: post(receiver, body))
    found["bare_posts_per_second"] = floor
    found["share_of_the_floor"] = round_(found["1_webhooks_per_second"] / floor)
    return found


def until_taken(receiver: Receiver, count: int) -> None:
    from portal.webhooks.round import go_round

    while len(receiver.taken) < count:
        go_round()


def post(receiver: Receiver, body: bytes) -> None:
    connection = http.client.HTTPConnection(*receiver.server_address)  # type: ignore[arg-type]
    for n in range(COUNT):
        connection.request("POST", "/hook", body, {"webhook-id": str(n), "Content-Type": "application/json"})
        connection.getresponse().read()


def per_second(count: int, act: Any) -> float:
    began = time.monotonic()
    act()
    return round_(count / (time.monotonic() - began))


def round_(value: float) -> float:
    return round(value, 2)


if __name__ == "__main__":
    main()
