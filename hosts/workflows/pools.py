"""Pools: a host is told of one, or told to forget it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.db.models import ProtectedError, Q
from django.utils import timezone

from hosts.connections import fenced_driver
from hosts.driver.base import Driver
from hosts.driver.errors import DriverError
from hosts.driver.types import PoolFacts
from hosts.errors import translate
from hosts.models import Host, StoragePool
from hosts.workflows.tokens import recognise, token_in
from portal.operations.models import Operation
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.tenancy.roles import Permission


def _pool(operation: Operation) -> StoragePool:
    return StoragePool.objects.select_related("host").get(pk=operation.target_id)


def _driver(context: StepContext, pool: StoragePool) -> Driver:
    return fenced_driver(pool.host, context.check)


def define(context: StepContext) -> Output:
    """What the host lacks for it is said in the host's own words: an administrator reads them."""
    pool = _pool(context.operation)
    driver = _driver(context, pool)
    try:
        facts = driver.define_pool(pool.spec)
        return {"pool": asdict(facts), "storage_id": token_in(driver, pool)}
    except DriverError as error:
        if error.transient:
            raise
        raise StepFailed(error.code, f"The host could not have it: {error}"[:300]) from error


def define_others(driver: Driver, host: Host) -> dict[str, str]:
    """All pools but the default one. Why the host cannot have some of them, by name: machines can do without."""
    errors = {}
    for pool in StoragePool.objects.filter(host=host, is_default=False, checked_at__isnull=False):
        try:
            driver.define_pool(pool.spec)
        except DriverError as error:
            if error.transient:
                raise
            errors[pool.name] = str(error)
    return errors


def tokens_of(driver: Driver, host: Host, without: Collection[str] = ()) -> tuple[dict[str, str], dict[str, str]]:
    """What tells the storage of each of its pools, and what is wrong with it, by name.

    Not of those `without`, which it does not have.
    """
    pools = StoragePool.objects.filter(Q(is_default=True) | Q(checked_at__isnull=False), host=host)
    found = {pool.name: recognise(driver, pool) for pool in pools if pool.name not in without}
    tokens = {name: token for name, (token, _) in found.items()}
    return tokens, {name: trouble for name, (_, trouble) in found.items() if trouble}


def forget_on_host(context: StepContext) -> None:
    pool = _pool(context.operation)
    _driver(context, pool).delete_pool(pool.name)


def take_in(operation: Operation, outputs: Mapping[str, Any]) -> None:
    pool = _pool(operation)
    note(pool.host, [PoolFacts(**outputs["pool"])], tokens={pool.name: outputs.get("storage_id", "")})


def note(
    host: Host,
    found: Iterable[PoolFacts],
    errors: Mapping[str, str] | None = None,
    tokens: Mapping[str, str] | None = None,
) -> None:
    """What a host said of its pools, what is wrong with some, and by which token each is known from now on.

    A token that one has already stays: whoever wants another has it registered anew.
    """
    now, tokens, errors = timezone.now(), tokens or {}, errors or {}
    seen = {facts.name: facts for facts in found}
    for pool in StoragePool.objects.filter(host=host):
        if facts := seen.get(pool.name):
            pool.capacity_bytes, pool.available_bytes = facts.capacity_bytes, facts.available_bytes
            pool.checked_at, pool.error = now, errors.get(pool.name, "")[:300]
            pool.storage_id = pool.storage_id or tokens.get(pool.name, "")
        elif pool.name in errors:
            pool.error = errors[pool.name][:300]
        pool.save(update_fields=["capacity_bytes", "available_bytes", "checked_at", "error", "storage_id"])
    count(host, seen.values())


def count(host: Host, found: Iterable[PoolFacts] = ()) -> None:
    """The host's own list of pools, of which those that take disks make up its capacity."""
    taking = {pool.name for pool in StoragePool.objects.filter(host=host) if pool.takes_disks}
    known = {pool["name"]: pool for pool in Host.objects.get(pk=host.pk).pools}
    known |= {facts.name: asdict(facts) for facts in found}
    pools = [{**pool, "takes_disks": pool["name"] in taking} for pool in known.values()]
    Host.objects.filter(pk=host.pk).update(pools=pools)


def drop(operation: Operation) -> None:
    """It was never had, so nothing is left to know of it; the operation keeps the story."""
    StoragePool.objects.filter(pk=operation.target_id).delete()


def is_empty(pool: StoragePool) -> bool:
    """Whatever lies in a pool protects its row: so the database is asked to remove that, and told to leave it."""
    try:
        with transaction.atomic():
            StoragePool.objects.filter(pk=pool.pk).delete()
            transaction.set_rollback(True)
    except ProtectedError:
        return False
    return True


def forget(context: StepContext) -> Output:
    if not is_empty(_pool(context.operation)):
        raise StepFailed("in_use", "Disks lie in it by now.")
    forget_on_host(context)
    return None


def define_again(context: StepContext) -> None:
    pool = _pool(context.operation)
    _driver(context, pool).define_pool(pool.spec)


def let_go(operation: Operation, outputs: Mapping[str, Any]) -> None:
    host = _pool(operation).host
    drop(operation)
    count(host)


def keep(operation: Operation) -> None:
    """It takes disks again."""
    StoragePool.objects.filter(pk=operation.target_id).update(error="")


REGISTER = register(
    Workflow(
        kind="pool.register",
        doing="being registered",
        done="registered",
        permission=Permission.HOST_WRITE,
        steps=(Step("define", "Defining it on the host", define, undo=forget_on_host),),
        succeeded=take_in,
        unwound=drop,
        translate=translate,
    )
)
REMOVE = register(
    Workflow(
        kind="pool.remove",
        doing="being removed",
        done="removed",
        permission=Permission.HOST_WRITE,
        steps=(Step("forget", "Removing its definition; its files stay", forget, undo=define_again),),
        succeeded=let_go,
        unwound=keep,
        translate=translate,
    )
)
