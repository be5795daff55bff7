"""Clean up: remove from a host what Berth made and nobody has. Each step looks again that nobody has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from hosts.connections import driver_for, fenced_driver
from hosts.driver.base import Driver
from hosts.driver.types import DomainFacts, Inventory, PowerState
from hosts.errors import translate
from hosts.models import Host
from hosts.reach import sharers
from portal.operations.models import Operation
from portal.operations.selectors import active_on_each
from portal.operations.workflow import Output, Step, StepContext, StepFailed, Workflow, register
from portal.quotas import ledger
from portal.tenancy.roles import Permission
from vms.audit import names, rows
from vms.audit.compare import is_helper, is_ours
from vms.audit.findings import Kind
from vms.models import VM, Drift, Volume


def _drift(operation: Operation) -> Drift:
    return Drift.objects.unscoped("workflow").select_related("host").get(pk=operation.target_id)


def remove(context: StepContext) -> Output:
    drift = _drift(context.operation)
    if drift.host is not None:
        driver = fenced_driver(drift.host, context.check)
        pools = [pool.name for pool in drift.host.storage_pools.all()]
        found = driver.inventory(pools, drift.host.network_name)
        _REMOVE[Kind(drift.kind)](driver, drift, drift.host, found)
    return None


def _has_owner(words: str) -> StepFailed:
    return StepFailed("has_an_owner", f"{words} It is left as it is.")


def _domain(driver: Driver, drift: Drift, host: Host, found: Inventory) -> None:
    uuid = UUID(drift.evidence["uuid"])
    domain = next((each for each in found.domains if each.uuid == uuid), None)
    if domain is None:
        return
    if VM.objects.unscoped("workflow").filter(pk=uuid).exists() or not is_ours(domain, found.pools):
        raise _has_owner("It is a machine's, or not Berth's.")
    if active_on_each([uuid]):
        raise _has_owner("It works for an operation that is under way.")
    if domain.power is not PowerState.STOPPED and not is_helper(domain, found.pools):
        raise _has_owner("It was started meanwhile.")
    driver.destroy(uuid)
    driver.undefine(uuid)


def _volume(driver: Driver, drift: Drift, host: Host, found: Inventory) -> None:
    name, pool = drift.object, _pool_of(drift, host)
    before = rows.note()
    if not names.is_ours(name) or (name in before.names and not rows.load(before).is_stray(host.pk, pool, name)):
        raise _has_owner("It has an owner, or its name is not Berth's.")
    _refuse_if_used(name, found, host, pool)
    driver.delete_volume(pool, name)


def _pool_of(drift: Drift, host: Host) -> str:
    return str(drift.evidence.get("pool", host.pool_name))


def _unfinished(driver: Driver, drift: Drift, host: Host, found: Inventory) -> None:
    name, pool = drift.object, _pool_of(drift, host)
    contents = found.pools.get(pool)
    if contents is None or name not in contents.unfinished:
        return
    is_image = name.startswith("image-")  # of which the next machine brings a whole one
    known = rows.load(rows.note())
    if not names.is_ours(name) or (name in known.names and not is_image):
        raise _has_owner("It has an owner, or its name is not Berth's.")
    if name in known.moving or host.pk in known.busy:
        raise StepFailed("resource_busy", "An operation may be bringing it. Try again when that is done.")
    _refuse_if_used(name, found, host, pool)
    driver.delete_volume(pool, name)


def _refuse_if_used(name: str, found: Inventory, host: Host, pool: str) -> None:
    """By what lies in the pools of the host, or by a domain of any host that shares the pool with it."""
    others = Host.objects.exclude(pk=host.pk).in_bulk(sharers().get((host.pk, pool), ())).values()
    domains = [*found.domains, *(domain for other in others for domain in _domains_of(other))]
    users = [domain.name for domain in domains if name in {disk.volume for disk in domain.disks}]
    volumes = [volume for contents in found.pools.values() if contents for volume in contents.volumes]
    users += [volume.name for volume in volumes if volume.backing == name]
    if users:
        raise _has_owner(f"{users[0]} stands on it.")


def _domains_of(host: Host) -> Sequence[DomainFacts]:
    return driver_for(host).inventory([], host.network_name).domains


def _address(driver: Driver, drift: Drift, host: Host, found: Inventory) -> None:
    if drift.object in rows.note().names:
        raise _has_owner("It is a machine's by now.")
    driver.delete_dhcp_host(host.network_name, drift.object)


_REMOVE: Mapping[Kind, Callable[[Driver, Drift, Host, Inventory], None]] = {
    Kind.DOMAIN_WITHOUT_VM: _domain,
    Kind.VOLUME_WITHOUT_OWNER: _volume,
    Kind.UNFINISHED_VOLUME: _unfinished,
    Kind.ADDRESS_WITHOUT_OWNER: _address,
}


def release(operation: Operation, outputs: Mapping[str, Any]) -> None:
    """A claim that nothing holds; in the books alone, so nothing is to be done on a host."""
    drift = _drift(operation)
    if drift.kind == Kind.CLAIM_WITHOUT_VM:
        holder = UUID(drift.evidence["holder"])
        holders = (VM.objects.unscoped("workflow"), Volume.objects.unscoped("workflow"))
        if not any(rows.filter(pk=holder).exists() for rows in holders):
            ledger.release(holder)


def leave(operation: Operation) -> None:
    """What was removed belonged to nobody; there is nothing to bring back."""


CLEAN_UP = register(
    Workflow(
        kind="drift.clean-up",
        doing="cleaning up",
        done="cleaned up",
        permission=Permission.HOST_WRITE,
        steps=(Step("remove", "Removing what nobody has", remove),),
        succeeded=release,
        unwound=leave,
        translate=translate,
    )
)
