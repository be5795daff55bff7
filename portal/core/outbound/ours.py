"""The addresses of the portal and of its hosts, which nobody is to reach through the portal."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import psutil
from django.conf import settings

from portal.core.outbound.addresses import Address

# Names and addresses of other machines of ours; the apps add what they know of at start.
names_of: list[Callable[[], Iterable[str | None]]] = []


def all_of_ours() -> frozenset[Address]:
    names = {urlsplit(settings.PUBLIC_URL).hostname, *(name for find in names_of for name in find())}
    return frozenset([*_of_this_machine(), *(address for name in names if name for address in _of(name))])


def _of_this_machine() -> Iterator[Address]:
    for addresses in psutil.net_if_addrs().values():
        for found in addresses:
            with suppress(ValueError):
                yield ipaddress.ip_address(found.address.partition("%")[0])


def _of(name: str) -> Iterator[Address]:
    """None where the name is not known, or is no name for the network."""
    with suppress(OSError, UnicodeError):
        for *_, sockaddr in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
            with suppress(ValueError):
                yield ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
