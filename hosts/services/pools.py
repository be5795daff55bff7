"""The pools of hosts: registering one, and letting go of an empty one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from django.db import IntegrityError, transaction

from hosts.models import Host, PoolKind, StorageClass, StoragePool
from hosts.services.locks import lock_host
from hosts.workflows.pools import REGISTER, REMOVE, is_empty
from portal.core import text
from portal.core.errors import Conflict, Invalid
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import Actor
from portal.tenancy.roles import Permission

_PATH = re.compile(r"/[\w.+@-]+(?:/[\w.+@-]+)+", re.ASCII)
_GROUP = re.compile(r"[A-Za-z0-9_.+-]{1,100}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(?::[0-9]{1,5})?")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REMOVING = "It is being removed."
# Of the host itself: a pool there would show its files as volumes, and a mount would hide them.
_SYSTEM = frozenset({"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "usr"})


@dataclass(frozen=True)
class RegisterPool:
    """As it came. `path` is a directory; `source` an export, a volume group or a Ceph pool, by `kind`."""

    name: str
    storage_class: str
    kind: str = PoolKind.DIR
    path: str = ""
    source: str = ""
    hosts: tuple[str, ...] = ()
    user: str = ""
    secret: str = ""


def add_default_pool(host: Host) -> StoragePool:
    """The directory pool that each host has from the beginning, of the class that is chosen where none is named."""
    return StoragePool.objects.create(
        host=host, storage_class=_default_class(), name=host.pool_name, path=host.pool_path, is_default=True
    )


def _default_class() -> StorageClass:
    standard = {"slug": "standard", "name": "Standard", "description": "On the host's own disks, without limits."}
    return StorageClass.objects.get_or_create(is_default=True, defaults=standard)[0]


@transaction.atomic
def register_pool(*, actor: Actor, host: Host, request: RegisterPool) -> tuple[StoragePool, Operation]:
    """A pool of the host's, defined there by the operation; it takes disks once the host has it.

    Raises Forbidden, Invalid at the field, or Conflict where the host has one of this name or in this place.
    """
    actor.require(Permission.HOST_WRITE)
    lock_host(host)
    storage_class = StorageClass.objects.filter(slug=request.storage_class).first()
    if storage_class is None:
        raise Invalid("There is no such storage class.", code="unknown_reference", field="storage_class")
    pool = StoragePool(
        host=host,
        storage_class=storage_class,
        name=text.hostname(request.name),
        kind=request.kind,
        path=_path_of(request),
        source=_source_of(request),
    )
    _refuse_same_place(pool)
    try:
        with transaction.atomic():
            pool.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("The host has a pool of this name already.", code="duplicate", field="name") from error
    after = {"host": host.name, "kind": pool.kind, "path": pool.path, "class": storage_class.slug}
    title = f"Register pool {pool.name} of {host.name}"
    return pool, operations.submit(REGISTER, actor=actor, target=pool, title=title, lane=host.pk, after=after)


@transaction.atomic
def remove_pool(*, actor: Actor, pool: StoragePool) -> Operation:
    """Let the host forget it; its files stay. Conflict while disks lie in it, and for the host's default pool."""
    actor.require(Permission.HOST_WRITE)
    lock_host(pool.host)
    if reason := why_not_removed(pool):
        raise Conflict(reason, code="in_use")
    StoragePool.objects.filter(pk=pool.pk).update(error=REMOVING)  # so that no disk is put there meanwhile
    title = f"Remove pool {pool.name} of {pool.host.name}"
    return operations.submit(REMOVE, actor=actor, target=pool, title=title, lane=pool.host_id)


def why_not_removed(pool: StoragePool) -> str:
    """For people; "" where it can go."""
    if pool.is_default:
        return "It is the host's default pool, where first-boot settings and images lie."
    return "" if is_empty(pool) else "Disks lie in it. Move or delete them first."


def _path_of(request: RegisterPool) -> str:
    if request.kind == PoolKind.RBD:
        return ""
    if request.kind == PoolKind.LOGICAL:
        return f"/dev/{_matching(_GROUP, request.source, 'source', 'Use the name of the volume group.')}"
    path = _matching(
        _PATH, request.path, "path", "Use an absolute path of at least two plain names, such as /srv/fast."
    )
    parts = PurePosixPath(path).parts
    if ".." in parts or "." in parts or parts[1] in _SYSTEM:
        raise Invalid("This directory is the host's own; choose another, such as /srv/fast.", field="path")
    return path


def _source_of(request: RegisterPool) -> dict[str, Any]:
    if request.kind == PoolKind.DIR:
        return {}
    if request.kind == PoolKind.LOGICAL:
        return {"source": request.source}
    hosts = [_matching(_HOST, host, "hosts", "Use host names or IPv4 addresses.") for host in request.hosts]
    if not hosts or (request.kind == PoolKind.NETFS and len(hosts) != 1):
        raise Invalid("Name one server." if request.kind == PoolKind.NETFS else "Name the monitors.", field="hosts")
    if request.kind == PoolKind.NETFS:
        return {"hosts": hosts, "source": _matching(_PATH, request.source, "source", "Use the path of the export.")}
    source = {"hosts": hosts, "source": _matching(_GROUP, request.source, "source", "Use the name of the Ceph pool.")}
    if request.user or request.secret:
        source["user"] = _matching(_GROUP, request.user, "user", "Use the name of the Ceph user.")
        source["secret"] = _matching(_UUID, request.secret, "secret", "Use the id of the host's libvirt secret.")
    return source


def _matching(shape: re.Pattern[str], value: str, field: str, words: str) -> str:
    if len(value) > 300 or not shape.fullmatch(value):
        raise Invalid(words, field=field)
    return value


def _refuse_same_place(pool: StoragePool) -> None:
    """Two pools in one directory would take each other's volumes for their own."""
    for other in StoragePool.objects.filter(host=pool.host):
        if pool.path and other.path and _is_within(pool.path, other.path):
            raise Conflict(f"Pool {other.name} of this host lies there.", code="duplicate", field="path")
        if not pool.path and (other.kind, other.source) == (pool.kind, pool.source):
            raise Conflict(f"Pool {other.name} of this host is the same.", code="duplicate", field="source")


def _is_within(one: str, other: str) -> bool:
    paths = PurePosixPath(one), PurePosixPath(other)
    return paths[0].is_relative_to(paths[1]) or paths[1].is_relative_to(paths[0])
