"""Keys and certificates as libvirt wants them: files, made of the database's rows on each machine of the portal's."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from uuid import UUID

from django.conf import settings

from hosts.access import Access, SshAccess
from hosts.driver.errors import NotTrusted
from hosts.driver.kvm.tunnel import PROGRAM
from hosts.models import Host, HostAccess
from portal.core.sealed import CannotOpen

_OLD_SECONDS = 3600.0
# Each host has a known_hosts of its own, with one name whatever its address is. libvirt tells no more than 1,024 bytes
# of what ssh says, and fails otherwise: so only the last word is said.
_SSH_CONFIG = """\
IdentityFile "{place}/key"
IdentitiesOnly yes
UserKnownHostsFile "{place}/known_hosts"
GlobalKnownHostsFile none
HostKeyAlias host
StrictHostKeyChecking yes
UpdateHostKeys no
PreferredAuthentications publickey
BatchMode yes
LogLevel FATAL
ConnectTimeout 10
ServerAliveInterval 5
ServerAliveCountMax 3
"""


def connection_uri(host: Host) -> str:
    """The host's URI as libvirt is given it: with the files of its access, and never asking anybody at a terminal.

    Raises NotTrusted where the access cannot be read, or was replaced meanwhile.
    """
    return uri_with(host.uri, None if host.access_id is None else _directory(host.access_id))


def uri_with(uri: str, place: Path | None) -> str:
    """`place` is a directory that `write` has filled; None: what the user has on this machine."""
    if not uri.startswith(("qemu+ssh:", "qemu+tls:")):
        return uri
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "qemu+ssh":
        options["no_tty"] = "1"
    if place is not None and parts.scheme == "qemu+ssh":
        options |= {"keyfile": f"{place}/key", "command": str(PROGRAM)}
    elif place is not None:
        options["pkipath"] = str(place)
    return parts._replace(query=urlencode(options, quote_via=quote)).geturl()


def write(directory: Path, access: Access, place: Path) -> None:
    """The files of an access, readable by their owner alone; `place` is where the directory will lie."""
    for name, content in _files(access, place).items():
        with os.fdopen(os.open(directory / name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(content)


def _directory(access_id: UUID) -> Path:
    """Made where it is missing, whole under its name at once."""
    parent: Path = settings.ACCESS_DIR
    place = parent / str(access_id)
    if place.exists():
        return place
    access = _opened(access_id)
    parent.mkdir(mode=0o700, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=parent))
    try:
        write(beside, access, place)
        with suppress(OSError):  # another process has made it at the same moment
            beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _forget_others(parent)
    return place


def _opened(access_id: UUID) -> Access:
    try:
        return HostAccess.objects.get(pk=access_id).opened
    except HostAccess.DoesNotExist:
        raise NotTrusted("The host's key was replaced.") from None
    except CannotOpen:
        raise NotTrusted("The host's key was stored under another secret key of Berth's. Give it again.") from None


def _files(access: Access, place: Path) -> Mapping[str, str]:
    if isinstance(access, SshAccess):
        return {
            "key": access.private_key,
            "known_hosts": "".join(f"host {line}\n" for line in access.host_keys.splitlines()),
            "ssh_config": _SSH_CONFIG.format(place=place),
        }
    return {
        "cacert.pem": access.ca_certificate,
        "clientcert.pem": access.client_certificate,
        "clientkey.pem": access.private_key,
    }


def _forget_others(parent: Path) -> None:
    """Keys that no host has any more, and what processes left that were killed while they made one."""
    known = {str(pk) for pk in HostAccess.objects.values_list("pk", flat=True)}
    for place in parent.iterdir():
        is_being_made = len(place.name) != 36 and not _is_old(place)
        if place.name not in known and not is_being_made:
            shutil.rmtree(place, ignore_errors=True)


def _is_old(place: Path) -> bool:
    try:
        return abs(time.time() - place.stat().st_mtime) > _OLD_SECONDS
    except OSError:  # it has its name by now
        return False
