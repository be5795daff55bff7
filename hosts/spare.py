"""N+1: whether what is on a host of a cluster would start on the others now, were it to fail.

Where a cluster keeps room for several hosts, so many fail at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from hosts.models import Cluster


@dataclass(frozen=True, slots=True)
class Spare:
    """Of the host, or hosts, that would be the worst to lose; `host` is "" where none has anything.

    `machines` are those on it of which others reach the disks. Of these `without_room` find no room, and `refused`
    no host takes for `reasons`, each what none of the others does. `local` are those that are off until it is back.
    """

    host: str = ""
    machines: int = 0
    without_room: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()
    local: int = 0


# By id of cluster; as many queries for one as for all. Who knows what machines ask of hosts puts its judgement here.
of_each: Callable[[Iterable[Cluster]], Mapping[UUID, Spare]] = lambda clusters: {  # noqa: E731
    cluster.pk: Spare() for cluster in clusters
}
