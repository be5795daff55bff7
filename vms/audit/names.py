"""Which names on a host are of Berth's making. What has another one is never touched."""

from __future__ import annotations

import re

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PROBE = re.compile(r"berth-preflight-[0-9a-f]{8}")  # of hosts.driver.kvm.probe, and so is its disk
_COPIER = re.compile(rf"berth-(?:copy|absorb)-{_ID}")  # of hosts.driver.xml.copy
# Disk.volume_name, VM.seed_volume, Image.file_name
_VOLUME = re.compile(rf"{_ID}\.qcow2|{_ID}-seed\.iso|image-[0-9a-f]{{32}}\.qcow2|{_PROBE.pattern}")


def is_ours(volume: str) -> bool:
    return bool(_VOLUME.fullmatch(volume))


def is_probe(domain: str) -> bool:
    return bool(_PROBE.fullmatch(domain))


def is_copier(domain: str) -> bool:
    return bool(_COPIER.fullmatch(domain))
