"""The one way to fetch a file from a URL that somebody else chose: redirects go through every check again."""

from __future__ import annotations

import errno
import http.client
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from portal.core.outbound.addresses import Policy, Target, target_of
from portal.core.outbound.connect import at_most, connect
from portal.core.outbound.refusal import Refused

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
_PIECE = 1024 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_ANSWER_SECONDS, _SILENCE_SECONDS = 60.0, 30.0
_PATIENCE_SECONDS, _SLOWEST_BYTES_PER_SECOND = 60.0, 128 * 1024
_HEADERS = {"User-Agent": "Berth", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True)
class Bounds:
    most_bytes: int
    seconds: float = 6 * 3600.0
    redirects: int = 5


def fetch(
    url: str,
    target: Path,
    policy: Policy,
    bounds: Bounds,
    progress: Progress = lambda done, total: None,
    on_size: Callable[[int], None] = lambda size: None,
) -> None:
    """Write what is at the URL to a file. Raises Refused, or OSError where the disk is full; what came is left then.

    `on_size` hears how large it is to become before the first byte is kept, `progress` how much came; both may raise.
    """
    deadline = time.monotonic() + bounds.seconds
    connection, response = _follow(url, policy, bounds)
    try:
        size = _size(response, bounds)
        on_size(size)
        _receive(response, target, size, deadline, progress)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _broken(error) from error
    finally:
        response.close()
        connection.close()


def _follow(url: str, policy: Policy, bounds: Bounds) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    for _ in range(bounds.redirects + 1):
        connection, response = _ask(target_of(url, policy), policy)
        if response.status not in _REDIRECTS:
            if response.status == 200:
                return connection, response
            connection.close()
            raise Refused("fetch_failed", f"The server did not give the file: it answered {response.status}.")
        location = response.getheader("Location", "")
        connection.close()
        url = urljoin(url, location)
    raise Refused("fetch_failed", "The URL leads from one to the next without end.")


def _ask(target: Target, policy: Policy) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    deadline = time.monotonic() + _ANSWER_SECONDS
    try:
        connection = connect(target, policy, silence_seconds=_SILENCE_SECONDS, within=_ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise _broken(error) from error
    try:
        with at_most(deadline - time.monotonic(), connection.sock):
            connection.request("GET", target.path, headers=_HEADERS)
            return connection, connection.getresponse()
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        raise _broken(error) from error


def _size(response: http.client.HTTPResponse, bounds: Bounds) -> int:
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise Refused("fetch_failed", "The server sends the file compressed, unasked.")
    length = response.getheader("Content-Length", "")
    if not length.isascii() or not length.isdigit() or response.getheader("Transfer-Encoding"):
        raise Refused("fetch_failed", "The server does not say how large the file is.")
    if len(length) > 18 or int(length) > bounds.most_bytes:
        raise Refused("image_too_large", f"The file is larger than {bounds.most_bytes // 1024**3} GiB.")
    return int(length)


def _receive(response: http.client.HTTPResponse, target: Path, size: int, deadline: float, progress: Progress) -> None:
    done, began = 0, time.monotonic()
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        while done < size:
            piece = response.read1(min(_PIECE, size - done))
            if not piece:
                raise Refused("fetch_failed", "The server stopped before the end of the file.")
            file.write(piece)
            done += len(piece)
            progress(done, size)
            if _is_too_slow(done, began, deadline):
                raise Refused("fetch_failed", "The server takes too long.")


def _is_too_slow(done: int, began: float, deadline: float) -> bool:
    now = time.monotonic()
    took = now - began
    return now > deadline or (took > _PATIENCE_SECONDS and done < took * _SLOWEST_BYTES_PER_SECOND)


def _broken(error: Exception) -> Refused:
    """Why goes to the log alone: what an inner server answers to an odd question is nobody's."""
    logger.warning("fetching an image: %s: %s", type(error).__name__, error)
    return Refused("fetch_failed", "The server does not answer as it should, or its certificate is not valid.")
