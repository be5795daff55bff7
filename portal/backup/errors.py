"""Why there is no backup, or no restore."""

from __future__ import annotations


class Refused(Exception):
    """Nothing was changed; the words are for the administrator."""
