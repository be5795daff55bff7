"""Public SSH keys as people paste them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

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
    blob = _blob(kind, body, field)
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"{kind} {body} {comment}".strip(), f"SHA256:{digest}", comment


def _blob(kind: str, body: str, field: str) -> bytes:
    try:
        blob = base64.b64decode(body, validate=True)
        (length,) = struct.unpack(">I", blob[:4])
    except (binascii.Error, struct.error, ValueError) as error:
        raise Invalid("The key is cut off or damaged.", code="invalid_ssh_key", field=field) from error
    if blob[4 : 4 + length] != kind.encode() or len(blob) <= 4 + length:
        raise Invalid("The key is cut off or damaged.", code="invalid_ssh_key", field=field)
    return blob
