"""Why a console ends: the WebSocket's close code and words; static/js/console.js knows the same codes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Closing:
    """A close code (RFC 6455 section 7.4: 4000 to 4999 are the application's) and at most 123 bytes of reason."""

    code: int
    reason: str


ENDED = Closing(4000, "The machine closed the console.")
RIGHT_LOST = Closing(4001, "You may no longer use this console.")
DELETED = Closing(4002, "The machine is deleted.")
STOPPED = Closing(4003, "The machine is not running.")
TAKEN_OVER = Closing(4004, "The serial console was opened elsewhere.")
IDLE = Closing(4005, "Nothing was typed for a long time.")
HOST_SILENT = Closing(4006, "The host does not answer.")
TOO_SLOW = Closing(4007, "The connection is too slow for what the machine sends.")
MOVED = Closing(4008, "The machine moved to another host.")
UNSUPPORTED = Closing(4009, "The machine's host cannot show displays yet; use the serial console.")
TOO_LARGE = Closing(1009, "A message was too large.")
