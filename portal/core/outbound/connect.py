"""A connection to where a URL leads.

A name is resolved once, every address it has must be public, and the connection goes to the address that was looked
at: what the name says a moment later changes nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from portal.core.outbound.addresses import Address, Policy, Target, not_allowed, require_public
from portal.core.outbound.refusal import Refused

CONNECT_SECONDS = 10.0
_tls = ssl.create_default_context


def connect(target: Target, policy: Policy, *, silence_seconds: float, within: float) -> http.client.HTTPConnection:
    """Open, within so many seconds; later reads wait for `silence_seconds`. Raises Refused, OSError, ValueError."""
    address = resolve(target, policy)
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.auto_open = 0  # it would look the name up again
    plain = socket.create_connection((address, target.port), timeout=min(CONNECT_SECONDS, within))
    try:
        with at_most(within, plain):
            connection.sock = _secured(plain, target)
        connection.sock.settimeout(silence_seconds)
    except BaseException:
        plain.close()
        raise
    return connection


def resolve(target: Target, policy: Policy) -> str:
    """One of the name's addresses, after a look at all of them. Raises Refused."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused("fetch_failed", "The name in the URL is not known.") from error
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    for text in addresses:
        if f"{text}:{target.port}" not in policy.allowed:
            require_public(_parsed(text), policy)
    return addresses[0]


@contextmanager
def at_most(seconds: float, connection: socket.socket) -> Iterator[None]:
    """Cuts the connection where the block takes longer: a header may trickle in under every other time-out."""

    # TLS takes a socket over, and has no dup() of its own; another descriptor is still the same connection.
    same = socket.socket(fileno=os.dup(connection.fileno()))

    def cut() -> None:
        with suppress(OSError):
            same.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        same.close()


def _secured(plain: socket.socket, target: Target) -> socket.socket:
    """The connection is to an address; SNI, certificate and Host are of the name."""
    if target.scheme == "http":
        return plain
    return _tls().wrap_socket(plain, server_hostname=target.host)


def _parsed(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise not_allowed("The URL leads to an address that is not public.") from error
