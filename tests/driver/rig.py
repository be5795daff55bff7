"""What the suite runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hosts.driver import open_driver
from hosts.driver.base import Driver

POOL, NETWORK = "berth", "berth"


@dataclass(frozen=True)
class Rig:
    """A host with a pool and a network; `other` is a second connection to the same host."""

    driver: Driver
    other: Driver
    uri: str
    cidr: str
    directory: Path


def prepared(uri: str, candidates: list[str], pool_path: Path, directory: Path) -> Rig:
    driver, other = open_driver(uri), open_driver(uri)
    driver.ensure_pool(POOL, pool_path)
    return Rig(driver, other, uri, driver.ensure_network(NETWORK, candidates), directory)


def cleared(rig: Rig) -> None:
    """Back to an empty host."""
    for domain in rig.driver.list_domains():
        rig.driver.destroy(domain.uuid)
        rig.driver.undefine(domain.uuid)
    for volume in rig.driver.list_volumes(POOL):
        rig.driver.delete_volume(POOL, volume.name)
    rig.driver.delete_network(NETWORK)
    rig.driver.delete_pool(POOL)
    rig.driver.close()
    rig.other.close()
