"""What is said of a file or an address that is not taken."""

from __future__ import annotations


class Refused(Exception):
    """For good. `code` and the words go to whoever brought it; they tell nothing of this machine."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
