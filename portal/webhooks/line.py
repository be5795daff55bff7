"""Sending one message after another to one server: checked and pinned like every address that somebody else chose."""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from portal.core.outbound.addresses import Policy, target_of
from portal.core.outbound.connect import at_most, connect
from portal.core.outbound.refusal import Refused
from portal.version import VERSION

SECONDS = 15.0  # for all of one message, from the name's look-up to the end of the answer
MOST_ANSWER_BYTES = 64 * 1024
_HEADERS = {"Content-Type": "application/json", "User-Agent": f"Berth/{VERSION}"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a message. `status` is None where there was no answer; `detail` is for its owner."""

    status: int | None
    detail: str
    milliseconds: int
    retry_after: float = 0.0

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Line:
    """A connection that is opened when it is needed, and kept for the next message where the server lets it."""

    def __init__(self, url: str, policy: Policy) -> None:
        self._url, self._policy = url, policy
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Line:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def post(self, body: str, headers: Mapping[str, str]) -> Outcome:
        """Never raises for what the server does. Redirects are not followed."""
        began = time.monotonic()
        try:
            status, retry_after = self._post(body.encode(), {**_HEADERS, **headers}, began + SECONDS)
        except (Refused, OSError, http.client.HTTPException, ValueError) as error:
            self._close()
            logger.info("a message was not taken: %s: %s", type(error).__name__, error)
            return Outcome(None, _words(error, time.monotonic() - began), _milliseconds(began))
        return Outcome(status, _answer(status), _milliseconds(began), retry_after)

    def _post(self, body: bytes, headers: Mapping[str, str], deadline: float) -> tuple[int, float]:
        was_open = self._connection is not None
        try:
            return self._ask(body, headers, deadline)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self._close()
            if not was_open:
                raise
            return self._ask(body, headers, deadline)  # a server may close an idle connection at any time

    def _ask(self, body: bytes, headers: Mapping[str, str], deadline: float) -> tuple[int, float]:
        target = target_of(self._url, self._policy)
        left = deadline - time.monotonic()
        if self._connection is None:
            self._connection = connect(target, self._policy, silence_seconds=SECONDS, within=left)
        with at_most(deadline - time.monotonic(), self._connection.sock):
            self._connection.request("POST", target.path, body, headers)
            response = self._connection.getresponse()
            response.read(MOST_ANSWER_BYTES)
        if time.monotonic() >= deadline:  # it was cut off, and an answer that is cut off looks whole
            raise TimeoutError
        if not response.isclosed() or response.will_close:  # more than is read
            self._close()
        return response.status, _seconds(response.getheader("Retry-After", ""))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0.0


def _milliseconds(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _answer(status: int) -> str:
    if 300 <= status < 400:
        return f"It answered {status}; redirects are not followed."
    return f"It answered {status}."


def _words(error: Exception, took: float) -> str:
    if isinstance(error, Refused):
        return error.detail
    if isinstance(error, ssl.SSLCertVerificationError):
        return "Its certificate is not valid."
    if isinstance(error, socket.timeout) or took >= SECONDS - 0.1:
        return f"It did not answer within {SECONDS:g} s."
    if isinstance(error, ConnectionRefusedError):
        return "It refused the connection."
    return "The connection broke before it answered."
