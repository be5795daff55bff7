"""Words that hosts have, and that sizes ask of them."""

from __future__ import annotations

from collections.abc import Sequence

from portal.core import text
from portal.core.errors import Invalid

MOST = 20


def checked(labels: Sequence[str], field: str = "labels") -> list[str]:
    """Each once, in order. Raises Invalid at `field`."""
    if len(labels) > MOST:
        raise Invalid(f"At most {MOST} labels.", code="too_many", field=field)
    return sorted({text.slug(label, field=field) for label in labels})
