"""Which names on a host are of Berth's making. What has another one is never touched."""

from __future__ import annotations

import re
from uuid import UUID

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PROBE = re.compile(r"berth-preflight-[0-9a-f]{8}")  # of hosts.driver.kvm.probe, and so is its disk
_HELPER = re.compile(rf"berth-(?:copy|absorb|merge)-{_ID}")  # of hosts.driver.xml.copy and .layers
# Layer.file_name, Snapshot.memory_volume, VM.seed_volume, Image.file_name
_VOLUME = re.compile(rf"{_ID}\.qcow2|{_ID}\.memory|{_ID}-seed\.iso|image-[0-9a-f]{{32}}\.qcow2|{_PROBE.pattern}")


_SEED = re.compile(rf"({_ID})-seed\.iso")


def machine_of_seed(volume: str) -> UUID | None:
    """Whose first-boot settings are in a volume of that name."""
    found = _SEED.fullmatch(volume)
    return UUID(found[1]) if found else None


def is_ours(volume: str) -> bool:
    return bool(_VOLUME.fullmatch(volume))


def is_probe(domain: str) -> bool:
    return bool(_PROBE.fullmatch(domain))


def is_helper(domain: str) -> bool:
    """A QEMU that copies or merges volumes."""
    return bool(_HELPER.fullmatch(domain))


def is_short_lived(domain: str) -> bool:
    """Of an operation, of whichever installation of Berth, and gone with it."""
    return is_probe(domain) or is_helper(domain)
