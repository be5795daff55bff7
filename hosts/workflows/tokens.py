"""Token files: by which hosts that see the same directory are told from those that have another one at that path."""

from __future__ import annotations

import re
import secrets

from hosts.driver import errors
from hosts.driver.base import Driver
from hosts.models import StoragePool
from hosts.reach import TOKEN

UNMOUNTED = "The file that it was recognised by is gone. Is its storage mounted?"
OTHER = "Another storage lies there than the one that it was recognised by."
_TOKEN = re.compile(r"[0-9a-f]{32}")


def recognise(driver: Driver, pool: StoragePool) -> tuple[str, str]:
    """The token of a pool, and what is wrong with it, "" for nothing.

    One that was recognised once keeps its token, for that is where its disks are: nothing is written there any more.
    """
    if not pool.storage_id:
        return token_in(driver, pool), ""
    try:
        return pool.storage_id, trouble_with(driver, pool)
    except errors.DriverError as error:
        if error.transient:
            raise
        return pool.storage_id, f"The file that it was recognised by could not be read: {error}"


def trouble_with(driver: Driver, pool: StoragePool) -> str:
    """Whether the host still sees the storage that this pool was recognised by; "" where it does."""
    token = text_in(driver, pool.name, TOKEN)
    return UNMOUNTED if token is None else "" if token == pool.storage_id else OTHER


def token_in(driver: Driver, pool: StoragePool) -> str:
    """The token in a pool of files, made where there is none; "" where there can be none, or it is none of Berth's.

    Whichever host or installation of Berth looks first makes it, and nobody ever replaces it.
    """
    if not pool.takes_disks:
        return ""
    try:
        token = text_in(driver, pool.name, TOKEN)
        if token is None:
            token = secrets.token_hex(16)
            driver.upload(pool.name, TOKEN, token.encode(), "raw", replace=False)
    except errors.DriverError as error:
        if error.transient:  # another host makes it at this moment
            raise
        return ""
    return token if _TOKEN.fullmatch(token) else ""


def text_in(driver: Driver, pool: str, name: str) -> str | None:
    """What a small file in the directory that the host sees says; None where there is none."""
    read = bytearray()
    try:
        driver.download(pool, name, read.extend)
    except errors.NotFound:
        return None
    return read.decode(errors="replace")
