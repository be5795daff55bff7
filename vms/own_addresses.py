"""The addresses of the portal and of its hosts, which nobody is to reach through the portal."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import psutil
from django.conf import settings

from hosts.models import Host
from vms.imaging.addresses import Address


def all_of_ours() -> frozenset[Address]:
    names = {urlsplit(settings.PUBLIC_URL).hostname, *(urlsplit(host.uri).hostname for host in Host.objects.all())}
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
