"""What is said of a file that is not taken."""

from __future__ import annotations

from portal.core.outbound.refusal import Refused


def damaged(why: str) -> Refused:
    return Refused("image_damaged", f"The file is damaged or incomplete: {why}.")
