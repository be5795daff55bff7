"""Encryption of a backup, in the age format (https://age-encryption.org/v1), which other tools read as well.

A sealed backup is a zip of two members: `key.age`, a fresh X25519 identity under the passphrase (scrypt), and
`backup.zip.age`, the backup for that identity. Two, because what a passphrase seals must fit into memory. By hand:
`age -d key.age > key && age -d -i key backup.zip.age > backup.zip`. Both are authenticated: a change is noticed.
"""

from __future__ import annotations

import getpass
import os
import sys
import zipfile
from pathlib import Path

import pyrage

from portal.backup.errors import Refused

KEY, CONTENT = "key.age", "backup.zip.age"
_LARGEST_KEY_BYTES = 10_000
_SHORTEST_PASSPHRASE = 8


def passphrase(confirm: bool) -> str:
    """From BERTH_BACKUP_PASSPHRASE, or asked for at the terminal; never from the arguments, which all may read."""
    given = os.environ.get("BERTH_BACKUP_PASSPHRASE", "")
    if not given:
        given = _asked(confirm)
    if confirm and len(given) < _SHORTEST_PASSPHRASE:
        raise Refused(f"The passphrase is too short; {_SHORTEST_PASSPHRASE} characters at least.")
    return given


def _asked(confirm: bool) -> str:
    if not sys.stdin.isatty():
        raise Refused("There is no terminal to ask for the passphrase; set BERTH_BACKUP_PASSPHRASE.")
    given = getpass.getpass("Passphrase: ")
    if confirm and getpass.getpass("Once more: ") != given:
        raise Refused("The two passphrases differ.")
    return given


def seal(plain: Path, sealed: Path, passphrase: str) -> None:
    """Write `sealed`, which exists and is empty, from `plain`."""
    identity = pyrage.x25519.Identity.generate()
    with zipfile.ZipFile(sealed, "w") as outer:
        outer.writestr(KEY, pyrage.passphrase.encrypt(str(identity).encode(), passphrase))
        with plain.open("rb") as source, outer.open(CONTENT, "w", force_zip64=True) as target:
            pyrage.encrypt_io(source, target, [identity.to_public()])


def is_sealed(file: zipfile.ZipFile) -> bool:
    return sorted(file.namelist()) == sorted((KEY, CONTENT))


def unseal(outer: zipfile.ZipFile, plain: Path, passphrase: str) -> None:
    """Write `plain`; Refused for a wrong passphrase, or where anything was changed on the way."""
    if outer.getinfo(KEY).file_size > _LARGEST_KEY_BYTES:
        raise Refused("This is no backup of Berth: its key is too long.")
    try:
        key = pyrage.passphrase.decrypt(outer.read(KEY), passphrase).decode()
    except (pyrage.DecryptError, UnicodeDecodeError):
        raise Refused("The passphrase is wrong, or the backup is damaged.") from None
    try:
        identity = pyrage.x25519.Identity.from_str(key)
        with outer.open(CONTENT) as source, plain.open("wb") as target:
            pyrage.decrypt_io(source, target, [identity])
    except (pyrage.DecryptError, pyrage.IdentityError, OSError) as error:
        if getattr(error, "errno", None) is not None:  # the disk's fault; pyrage raises OSError without a number
            raise
        raise Refused("The backup is damaged.") from None
