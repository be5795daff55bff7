"""Which libvirt URIs an administrator may give (https://libvirt.org/uri.html).

libvirt runs whatever program the parameters `command` and `netcat` name, on the portal's machine. So parameters are
allowed by name, and everything else is refused.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

SCHEMES = frozenset({"qemu", "qemu+unix", "qemu+ssh", "qemu+tls", "qemu+tcp"})
PARAMETERS = frozenset({"socket"})
# Files on the portal's machine are not for a form to name; what is in them is given beside the URI.
GIVEN_BESIDE = frozenset({"keyfile", "known_hosts", "known_hosts_verify", "pkipath"})
LONGEST = 300
DEFAULT_PORTS = {"qemu+ssh": 22, "qemu+tls": 16514, "qemu+tcp": 16509}
_PLACE = re.compile(r"([A-Za-z0-9_][\w.-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_FILE = re.compile(r"/[\w./-]+", re.ASCII)
_PRINTABLE = re.compile(r"[!-~]+")  # urlsplit drops some of what is not, and libvirt does not


def why_refused(uri: str, *, allows_tcp: bool = False) -> str:
    """In words; "" for a URI that is taken. Plain TCP has neither passwords nor encryption: who reaches it is root."""
    if not _PRINTABLE.fullmatch(uri):
        return "Use a libvirt URI, without spaces and other characters than those of ASCII."
    try:
        parts = urlsplit(uri)
        port = parts.port
        parameters = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return "This is not a URI."
    if len(uri) > LONGEST or parts.scheme not in SCHEMES or parts.path not in ("/system", "/session"):
        return "Use a libvirt URI, such as qemu:///system or qemu+ssh://host/system."
    if parts.scheme == "qemu+tcp" and not allows_tcp:
        return "qemu+tcp lets everybody in who reaches it. Use qemu+tls or qemu+ssh; for a lab set BERTH_ALLOW_TCP=1."
    if "#" in uri or port == 0 or (parts.netloc and not _PLACE.fullmatch(parts.netloc)):
        return "The host's name in it is not one."
    if any(name in GIVEN_BESIDE for name, _ in parameters):
        return "Give the key or the certificates themselves, beside the URI."
    if refused := sorted({name for name, _ in parameters} - PARAMETERS):
        return f"The parameter {refused[0]} is not allowed; {', '.join(sorted(PARAMETERS))} are."
    if not all(_FILE.fullmatch(value) and ".." not in value.split("/") for _, value in parameters):
        return "Its parameters are absolute paths."
    return ""


def normal(uri: str) -> str:
    """The same for each way to spell it; of one that is taken."""
    parts = urlsplit(uri)
    user, at, place = parts.netloc.rpartition("@")
    place = place.lower().removesuffix(f":{DEFAULT_PORTS.get(parts.scheme, '')}")
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{user}{at}{place}{parts.path}{query}"  # geturl leaves out the slashes of no host


def for_peers(uri: str) -> str:
    """The same host as another one's libvirtd reaches it, whose keys and certificates lie in their usual places.

    "" where the URI names a socket of this machine.
    """
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}{parts.path}" if parts.netloc or parts.scheme == "memory" else ""
