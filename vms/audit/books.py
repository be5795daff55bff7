"""The books by themselves: claims against machines, machines against operations, operations against the clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from portal.billing.metering import Key
from portal.operations.models import Operation
from portal.operations.states import State
from vms.audit.findings import Finding, Kind
from vms.audit.rows import Amounts, Machine, Rows
from vms.models import Lifecycle

# The reaper rings every five seconds for what is due; what nobody took for this long, nobody will.
UNATTENDED_AFTER = timedelta(seconds=45)
_WITH_OPERATION_ONLY = (Lifecycle.BUILDING, Lifecycle.DELETING)


def findings(rows: Rows) -> Iterator[Finding]:
    yield from _claims(rows)
    yield from _unowned_claims(rows)
    yield from _metered(rows)
    yield from _machines(rows)
    yield from _layers(rows)
    for operation in rows.operations:
        yield from _operation(operation, rows.at)


def _claims(rows: Rows) -> Iterator[Finding]:
    """Each row holds what it is, of its tenant and of its host, and of nobody else."""
    for id, holding in rows.holdings.items():
        if id in rows.busy or holding.vm_id in rows.busy:
            continue
        others = {account for account, holder in rows.claims if holder == id and account not in holding.wanted}
        for account in (*holding.wanted, *others):
            held, right = _amounts(rows.claims.get((account, id))), _amounts(holding.wanted.get(account))
            if held != right:
                words = f"{holding.name} holds {_words(held)} of {rows.accounts.get(account)}, and is {_words(right)}"
                name, evidence = f"{id} of {account}", {"is": held, "should": right}
                yield Finding(Kind.CLAIM_WRONG, "", name, words, vm_id=holding.vm_id, evidence=evidence)


def _unowned_claims(rows: Rows) -> Iterator[Finding]:
    for (account, holder), held in rows.claims.items():
        if holder not in rows.holdings and holder not in rows.busy:
            words = f"{_words(held)} of {rows.accounts.get(account, account)} are held by nothing"
            evidence = {"is": held, "holder": str(holder)}
            yield Finding(Kind.CLAIM_WITHOUT_VM, "", f"{holder} of {account}", words, evidence=evidence)


def _metered(rows: Rows) -> Iterator[Finding]:
    """What is metered changes in the transaction of what it is, so it is right at every moment."""
    for id in rows.metered.keys() | rows.resources.keys():
        resource, held = rows.resources.get(id), _meters(rows.metered.get(id, {}))
        right = _meters(resource.amounts) if resource else {}
        if held == right:
            continue
        evidence = {"is": held, "should": right}
        if resource is None:
            words = f"{_words(held)} are metered of what does not exist"
            yield Finding(Kind.METERED_WITHOUT_RESOURCE, "", str(id), words, evidence=evidence)
        else:
            words = f"{resource.resource_name} is metered as {_words(held)}, and is {_words(right)}"
            yield Finding(Kind.METERED_WRONG, "", str(id), words, evidence=evidence)


def _meters(amounts: Mapping[Key, int]) -> Amounts:
    """By the meter and its grade as one word."""
    return {"/".join(filter(None, key)): amount for key, amount in amounts.items()}


def _machines(rows: Rows) -> Iterator[Finding]:
    for machine in rows.machines.values():
        is_under_way = machine.lifecycle in _WITH_OPERATION_ONLY and not machine.is_settled
        if is_under_way and machine.id not in rows.busy:
            yield _of(machine, Kind.VM_WITHOUT_OPERATION, f"{machine.name} is {machine.lifecycle}, and nobody does it")


def _layers(rows: Rows) -> Iterator[Finding]:
    """In a minute the clock has removed them, if their host lets it."""
    for id, words in rows.unneeded.items():
        if id not in rows.busy:
            yield Finding(Kind.LAYER_UNNEEDED, "", str(id), f"nothing needs {words}")


def _of(machine: Machine, kind: Kind, words: str) -> Finding:
    return Finding(kind, "", str(machine.id), words, vm_id=machine.id)


def _operation(operation: Operation, now: datetime) -> Iterator[Finding]:
    name = str(operation.pk)
    if operation.state == State.STUCK:
        yield Finding(Kind.OPERATION_STUCK, "", name, f"{operation.title}: waits for {operation.waiting_for}")
        return
    moments = (operation.created_at, operation.lease_until, operation.not_before)
    due = max(moment for moment in moments if moment is not None)
    if now - due > UNATTENDED_AFTER:
        words = f"{operation.title}: due since {due:%Y-%m-%d %H:%M:%S} UTC, and nobody works on it"
        yield Finding(Kind.OPERATION_ABANDONED, "", name, words)


def _amounts(amounts: Amounts | None) -> Amounts:
    """A claim of nothing is as good as none."""
    return {resource: amount for resource, amount in (amounts or {}).items() if amount}


def _words(amounts: Amounts) -> str:
    return ", ".join(f"{amount} {resource}" for resource, amount in sorted(amounts.items())) or "nothing"
