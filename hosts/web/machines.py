"""The machines of a host, on its page: whoever knows of machines puts here what shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest

from hosts.models import Host

# The context of "vms/_host_machines.html".
of: Callable[[HttpRequest, Host], Mapping[str, Any]] = lambda request, host: {"machines": None}  # noqa: E731
