"""The observer: keeps what is shown of hosts and machines true."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from hosts.observe import watch_all
from portal.core import presence


class Command(BaseCommand):
    help = "Watch all hosts until told to stop."

    def handle(self, *args: Any, **options: Any) -> None:
        presence.hold()
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        watch_all(stop)
