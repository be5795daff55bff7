"""Which addresses and URLs may be fetched from: public ones, as they really are behind all their spellings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from portal.core.outbound.refusal import Refused

Address = IPv4Address | IPv6Address
LONGEST_URL = 2000
_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_PLAIN = re.compile(r"[!-\[\]-~]+")  # printable ASCII but the backslash, which readers of URLs disagree about
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# is_global has these as public, or does so in some versions of Python
_SPECIAL_4 = [IPv4Network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4")]
# NAT64 of one's own, 6to4, Teredo and others that carry an address of somebody else's network
_SPECIAL_6 = [IPv6Network(text) for text in ("2002::/16", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16")]


@dataclass(frozen=True)
class Policy:
    """`allowed` are `ADDRESS:PORT` that may be reached whatever they are; `forbidden` the portal's and the hosts'."""

    http: bool = False
    allowed: frozenset[str] = frozenset()
    forbidden: frozenset[Address] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Target:
    """Where a URL leads; `path` has the query with it."""

    scheme: str
    host: str
    port: int
    path: str


def target_of(url: str, policy: Policy) -> Target:
    """A URL taken apart, before any name is looked up. Raises Refused ("url_not_allowed")."""
    if len(url) > LONGEST_URL or not _PLAIN.fullmatch(url):
        raise not_allowed("A URL is up to 2,000 printable ASCII characters without spaces and backslashes.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise not_allowed("This is no URL.") from error
    if parts.scheme not in (("https", "http") if policy.http else ("https",)) or not parts.netloc:
        raise not_allowed("The URL must begin with https://.")
    if "@" in parts.netloc or "%" in parts.netloc:
        raise not_allowed("A URL with a user name, a password or an escaped host is not fetched.")
    target = Target(
        parts.scheme, _host(parts.hostname or ""), port or _PORTS[parts.scheme], _path(parts.path, parts.query)
    )
    if f"{target.host}:{target.port}" in policy.allowed:
        return target
    if target.port != _PORTS[target.scheme]:
        raise not_allowed(f"Only port {_PORTS[target.scheme]} is fetched from.")
    if (address := _literal(target.host)) is not None:
        require_public(address, policy)
    return target


def require_public(address: Address, policy: Policy) -> None:
    """Raises Refused, with no word of what is at the address."""
    if _carried(address) in policy.forbidden or not is_public(address):
        raise not_allowed("The URL leads to an address that is not public.")


def is_public(address: Address) -> bool:
    address = _carried(address)
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _SPECIAL_4)
    special = address.scope_id is not None or any(address in network for network in _SPECIAL_6)
    return address in _GLOBAL_UNICAST and address.is_global and not special


def _carried(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def not_allowed(words: str) -> Refused:
    return Refused("url_not_allowed", words)


def _host(host: str) -> str:
    """A full DNS name, or an address in its one proper spelling: nothing that a resolver would guess about."""
    if _literal(host) is None and not _NAME.fullmatch(host):
        raise not_allowed("The URL needs the full name of a public server.")
    return host


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _path(path: str, query: str) -> str:
    return (path or "/") + (f"?{query}" if query else "")
