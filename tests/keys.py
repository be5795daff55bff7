"""Keys and certificates of the tests' own."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class SshKey:
    """As ssh-keygen writes it; `public` is the line of the .pub file without a comment."""

    own: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @cached_property
    def private(self) -> str:
        return self.own.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()

    @property
    def public(self) -> str:
        return self.own.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@cache
def ssh_access() -> dict[str, str]:
    """As the API and the form take it."""
    return {"ssh_key": SshKey().private, "host_keys": SshKey().public}


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Authority:
    """A CA."""

    name: str = "Tests"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def certificate(self) -> str:
        return self._signed(self.name, self.key, timedelta(days=30), is_authority=True)

    def issue(self, name: str, address: str = "", lasts: timedelta = timedelta(days=30)) -> tuple[str, str]:
        """Certificate and key: of a server at an address, or of a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._signed(name, key, lasts, address=address), _pem(key)

    def access(self, **more: timedelta) -> dict[str, str]:
        """As the API and the form take it."""
        certificate, key = self.issue("berth", **more)
        return {"ca_certificate": self.certificate, "client_certificate": certificate, "client_key": key}

    def _signed(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        lasts: timedelta,
        *,
        is_authority: bool = False,
        address: str = "",
    ) -> str:
        usage = dict.fromkeys(
            ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
        )
        own = {"digital_signature": not is_authority, "key_encipherment": not is_authority}
        signs = {"key_cert_sign": is_authority, "crl_sign": is_authority}
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder(_named(self.name), _named(name), key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + lasts)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.KeyUsage(**usage, **own, **signs), critical=True)
        )
        if not is_authority:
            purpose = ExtendedKeyUsageOID.SERVER_AUTH if address else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if address:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM).decode()
