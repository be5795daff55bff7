"""Public SSH keys as people paste them."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator

from portal.core.errors import Invalid

KINDS = {
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
}
LONGEST = 8192
SHORTEST_RSA_BITS = 1024
ED25519 = {"ssh-ed25519": 2, "sk-ssh-ed25519@openssh.com": 3}  # how many members each has


def parse(text: str, field: str = "public_key") -> tuple[str, str, str]:
    """(normalised key line, SHA256 fingerprint, comment) of one OpenSSH public key (RFC 4253, section 6.6).

    Raises Invalid at `field`, naming what is wrong; options before the key (command=...) are not accepted.
    """
    text = text.strip()
    if "PRIVATE KEY" in text:
        raise Invalid(
            "This is a private key: keep it secret, and paste the .pub file's line instead.",
            code="private_key",
            field=field,
        )
    if len(text) > LONGEST or "\n" in text or "\r" in text or not text.isprintable():
        raise Invalid("Paste one public key, on one line.", code="invalid_ssh_key", field=field)
    kind, body, comment = (*text.split(maxsplit=2), "", "", "")[:3]
    if kind not in KINDS:
        raise Invalid('A public key starts with its kind, such as "ssh-ed25519".', code="invalid_ssh_key", field=field)
    blob = _blob(body, field)
    if not _is_key(kind, blob):
        raise Invalid("The key is cut off or damaged.", code="invalid_ssh_key", field=field)
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"{kind} {body} {comment}".strip(), f"SHA256:{digest}", comment


def _blob(body: str, field: str) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("The key is cut off or damaged.", code="invalid_ssh_key", field=field) from error


def _is_key(kind: str, blob: bytes) -> bool:
    """Its own kind, then the members of that kind, of the size they have."""
    members = list(_members(blob))
    if not members or members[0] != kind.encode():
        return False
    if kind == "ssh-rsa":
        return len(members) == 3 and len(members[2]) * 8 >= SHORTEST_RSA_BITS
    if kind in ED25519:
        return len(members) == ED25519[kind] and len(members[1]) == 32
    return len(members) >= 3 and members[2][:1] == b"\x04" and len(members[2]) in (65, 97, 133)


def _members(blob: bytes) -> Iterator[bytes]:
    """Length and bytes of each; nothing at all where the last one is cut off."""
    rest, found = blob, []
    while rest:
        length = int.from_bytes(rest[:4], "big")
        if len(rest) < 4 + length:
            return
        found.append(rest[4 : 4 + length])
        rest = rest[4 + length :]
    yield from found
