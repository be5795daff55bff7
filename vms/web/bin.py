"""The bin in words."""

from __future__ import annotations

from django.conf import settings

from portal.web.presentation import span


def bin_words() -> str:
    """How long what is deleted can be restored, as in “24 h”; "" where it cannot."""
    return span(settings.BIN_HOURS * 3600.0) if settings.BIN_HOURS else ""
