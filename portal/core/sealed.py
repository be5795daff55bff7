"""Secrets in the database: sealed with the installation's key, so that neither a dump nor a backup alone tells them."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class CannotOpen(Exception):
    """It was sealed with another key: BERTH_SECRET_KEY has changed since."""


def seal(text: str) -> str:
    """ "" stays "", so that a form can tell whether there is one."""
    return _box().encrypt(text.encode()).decode() if text else ""


def unseal(sealed: str) -> str:
    """Raises CannotOpen."""
    try:
        return _box().decrypt(sealed.encode()).decode() if sealed else ""
    except InvalidToken as error:
        raise CannotOpen from error


def _box() -> Fernet:
    """The key is of full strength (portal.env.secret_key), so a hash of it is too."""
    digest = hashlib.sha256(b"berth.sealed:" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
