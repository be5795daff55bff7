"""Which storage hosts have in common.

Pools of two hosts are the same storage where both have read the same token there (hosts.workflows.tokens), and have it
under the same name and path: definitions of machines name the pool, and qcow2 files the paths of those they stand on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db.models import Q, QuerySet

from hosts.models import Host, StoragePool

TOKEN = "berth-storage"  # noqa: S105  the name of the file, which is no secret


def same_storage(pool: StoragePool) -> QuerySet[StoragePool]:
    """The pool itself, and those of other hosts that are the same."""
    if not pool.storage_id:
        return StoragePool.objects.filter(pk=pool.pk)
    return StoragePool.objects.filter(storage_id=pool.storage_id, name=pool.name, path=pool.path)


def aliases(pools: Iterable[StoragePool]) -> Mapping[UUID, UUID]:
    """By the id of each pool that is the same storage as one of these, the id of that one. One query."""
    known = {_key(pool): pool.pk for pool in pools}
    rows = StoragePool.objects.filter(storage_id__in={key[0] for key in known if len(key) > 1})
    others = {pool.pk: known[_key(pool)] for pool in rows if _key(pool) in known}
    return {**{id: id for id in known.values()}, **others}


def counterparts(pools: Iterable[StoragePool], host: Host) -> Mapping[UUID, StoragePool]:
    """By the id of each pool that `host` reaches, its own pool of that storage. What is missing it does not reach."""
    rows = StoragePool.objects.filter(host=host, error="").select_related("storage_class", "host")
    return counterparts_among(pools, rows)


def counterparts_among(pools: Iterable[StoragePool], others: Iterable[StoragePool]) -> Mapping[UUID, StoragePool]:
    """The same of a host whose pools have been read."""
    own = {_key(pool): pool for pool in others}
    return {pool.pk: own[_key(pool)] for pool in pools if _key(pool) in own}


def hosts_of_each(pools: Iterable[StoragePool]) -> Mapping[UUID, frozenset[UUID]]:
    """By the id of each pool, the hosts that reach it: where what lies in it can be used. One query."""
    wanted = {pool.pk: _key(pool) for pool in pools}
    tokens = {key[0] for key in wanted.values() if len(key) > 1}
    hosts: dict[tuple[object, ...], set[UUID]] = defaultdict(set)
    for pool in StoragePool.objects.filter(Q(pk__in=list(wanted)) | Q(storage_id__in=tokens), error=""):
        hosts[_key(pool)].add(pool.host_id)
    return {id: frozenset(hosts[key]) for id, key in wanted.items()}


def other_ways(host: Host, name: str) -> list[StoragePool]:
    """The pools of other hosts by which files in that pool of a host can be got at now."""
    pool = host.storage_pools.get(name=name)
    rows = same_storage(pool).exclude(host=host).filter(error="").select_related("host__access")
    return [other for other in rows if other.host.is_reachable and not other.host.has_failed]


def is_same(pool: StoragePool, other: StoragePool) -> bool:
    """Whether what lies in the one is found in the other, on whichever host."""
    return _key(pool) == _key(other)


def are_two(token: str, other: str) -> bool:
    """Whether these are the tokens of two storages for certain: only then may a file go because the other has it too.

    Of a pool that was not recognised ("") nobody knows; under another path it is the same storage all the same.
    """
    return bool(token and other) and token != other


def tokens() -> Mapping[tuple[UUID, str], str]:
    """By host and name of each pool, the token that it was recognised by. One query."""
    return {(host, name): token for host, name, token in StoragePool.objects.values_list("host", "name", "storage_id")}


def sharers() -> Mapping[tuple[UUID, str], tuple[UUID, ...]]:
    """By host and name each pool that several hosts share, with all of these: those that answer first, then by name."""
    by_storage: dict[tuple[object, ...], list[StoragePool]] = defaultdict(list)
    for pool in StoragePool.objects.exclude(storage_id="").select_related("host"):
        by_storage[_key(pool)].append(pool)
    found: dict[tuple[UUID, str], tuple[UUID, ...]] = {}
    for those in by_storage.values():
        hosts = [pool.host for pool in those]
        ids = tuple(host.pk for host in sorted(hosts, key=lambda host: (not host.is_reachable, host.name)))
        if len(ids) > 1:
            found |= {(pool.host_id, pool.name): ids for pool in those}
    return found


def _key(pool: StoragePool) -> tuple[object, ...]:
    """What is the same for all pools of one storage; of one without a token, itself."""
    return (pool.storage_id, pool.name, pool.path) if pool.storage_id else (pool.pk,)
