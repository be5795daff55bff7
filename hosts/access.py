"""What Berth shows a host so that it is let in, and how it knows that host again: checked when it is given. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from portal.accounts import ssh
from portal.core.errors import Invalid

LONGEST = 20_000
MOST_HOST_KEYS = 10
SSH_FIELDS = ("ssh_key", "host_keys")
TLS_FIELDS = ("ca_certificate", "client_certificate", "client_key")
FIELDS = (*SSH_FIELDS, *TLS_FIELDS)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SshAccess:
    """`host_keys` are those that the host may have, one a line: `kind base64`."""

    public_key: str
    host_keys: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TlsAccess:
    """All as PEM (RFC 7468)."""

    ca_certificate: str
    client_certificate: str
    expires_at: datetime
    private_key: str = field(repr=False)


Access = SshAccess | TlsAccess


def ssh_access(private_key: str, host_keys: str) -> SshAccess:
    """Raises Invalid at `ssh_key` or `host_keys`."""
    key = _load(load_ssh_private_key if "OPENSSH" in private_key else load_pem_private_key, private_key, "ssh_key")
    try:
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(
            "SSH knows no keys of this kind. Make one with ssh-keygen -t ed25519.", field="ssh_key"
        ) from error
    return SshAccess(public, _host_keys(host_keys), _plain(private_key, "ssh_key").decode())


def tls_access(ca_certificate: str, client_certificate: str, client_key: str) -> TlsAccess:
    """Raises Invalid at the field; also where the three do not belong together, or the certificate is over."""
    authorities = _certificates(ca_certificate, "ca_certificate")
    own, *_ = _certificates(client_certificate, "client_certificate")
    key = _load(load_pem_private_key, client_key, "client_key")
    if _spki(key.public_key()) != _spki(own.public_key()):
        raise Invalid("This is not the key of the client certificate.", field="client_key")
    if own.not_valid_after_utc < datetime.now(UTC):
        raise Invalid("The client certificate is over.", field="client_certificate")
    if not any(_is_issued_by(own, each) for each in authorities):
        raise Invalid("This CA has not issued the client certificate.", field="ca_certificate")
    pem = _plain(client_key, "client_key").decode()
    return TlsAccess(ca_certificate, client_certificate, own.not_valid_after_utc, pem)


def access_in(
    *,
    ssh_key: str = "",
    host_keys: str = "",
    ca_certificate: str = "",
    client_certificate: str = "",
    client_key: str = "",
) -> Access | None:
    """Of a form or a body in which one kind is filled in, or nothing. Raises Invalid at the field."""
    is_ssh, is_tls = any((ssh_key, host_keys)), any((ca_certificate, client_certificate, client_key))
    if is_ssh and is_tls:
        raise Invalid("Give a key or certificates, not both.", field="ssh_key")
    if is_ssh:
        return ssh_access(ssh_key, host_keys)
    return tls_access(ca_certificate, client_certificate, client_key) if is_tls else None


def of_keys(keys: str) -> list[str]:
    """Fingerprints of public keys, one a line, as ssh-keygen -l says them: `ssh-ed25519 SHA256:...`."""
    return [f"{line.split()[0]} {ssh.parse(line)[1]}" for line in keys.splitlines()]


def of_certificates(pem: str) -> list[str]:
    """Name and fingerprint of each, the latter as openssl x509 -fingerprint -sha256 says it."""
    found = x509.load_pem_x509_certificates(pem.encode())
    return [f"{each.subject.rfc4514_string()} SHA256:{each.fingerprint(SHA256()).hex(':').upper()}" for each in found]


def why_misfit(uri: str, access: Access | None) -> str:
    """Why a host with that URI cannot be reached by it, for people; "" where it can, and where there is none."""
    scheme = urlsplit(uri).scheme
    if isinstance(access, SshAccess) and scheme != "qemu+ssh":
        return "An SSH key is for a qemu+ssh URI."
    if isinstance(access, TlsAccess) and scheme != "qemu+tls":
        return "Certificates are for a qemu+tls URI."
    return ""


def _load(load: Callable[[bytes, None], PrivateKeyTypes], text: str, field: str) -> PrivateKeyTypes:
    try:
        return load(_plain(text, field), None)
    except TypeError as error:
        raise Invalid(
            "It is protected by a passphrase, which nobody could type in. Give one without.", field=field
        ) from error
    except NotImplementedError as error:
        words = "It is of a rare form that cannot be read. Make one with ssh-keygen -t ed25519."
        raise Invalid(words, field=field) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("Paste the whole private key, with its BEGIN and END lines.", field=field) from error


def _certificates(text: str, field: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_plain(text, field))
    except ValueError as error:
        raise Invalid("Paste the whole certificate, with its BEGIN and END lines.", field=field) from error


def _plain(text: str, field: str) -> bytes:
    if len(text) > LONGEST or not text.isascii():
        raise Invalid("This is no PEM file.", field=field)
    return text.strip().encode() + b"\n"


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _host_keys(text: str) -> str:
    """Lines of known_hosts, of ssh-keyscan or of a .pub file become `kind base64`."""
    lines = [line for each in text[:LONGEST].splitlines() if (line := each.strip()) and not line.startswith("#")]
    if not 0 < len(lines) <= MOST_HOST_KEYS:
        words = "Paste the host's public key, such as /etc/ssh/ssh_host_ed25519_key.pub of it."
        raise Invalid(words, field="host_keys")
    return "\n".join(_host_key(line) for line in lines)


def _host_key(line: str) -> str:
    first, _, rest = line.partition(" ")
    normal, _, _ = ssh.parse(line if first in ssh.KINDS else rest, field="host_keys")
    return " ".join(normal.split()[:2])
