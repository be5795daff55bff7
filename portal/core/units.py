"""Sizes in words: binary units, one decimal at most, a thin space before the unit."""

from __future__ import annotations

THIN_SPACE = "\u202f"
GIB_IN_MIB = 1024
GIB = 1024**3  # in bytes


def mib(value: int) -> str:
    """256 MiB, 1.5 GiB."""
    if value < GIB_IN_MIB:
        return f"{value}{THIN_SPACE}MiB"
    return f"{_short(value / GIB_IN_MIB)}{THIN_SPACE}GiB"


def size(bytes_: int) -> str:
    """In the largest binary unit that leaves at least 1."""
    value = float(bytes_)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f}{THIN_SPACE}{unit}" if value >= 100 else f"{value:.3g}{THIN_SPACE}{unit}"
        value /= 1024
    return f"{_short(value)}{THIN_SPACE}TiB"


def _short(value: float) -> str:
    """At most one decimal, and no exponent however large: 1.1, 48, 10240."""
    return f"{value:.1f}".removesuffix(".0")
