"""Failing over: who may ask for it, and what is begun by itself."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from hosts.models import Host, HostState
from hosts.services.locks import lock_host
from portal.core.errors import Conflict, Invalid
from portal.events import log
from portal.operations import services as operations
from portal.operations.models import Operation
from portal.tenancy.gate import SYSTEM, Actor
from portal.tenancy.roles import Permission
from vms.workflows import recover
from vms.workflows.failover import FAILOVER, RETURN

CLEAR_AGAIN = timedelta(minutes=1)
logger = logging.getLogger(__name__)


@transaction.atomic
def fence(*, actor: Actor, host: Host) -> Operation:
    """Cut its power by its fence agent, and start its machines elsewhere once it is certain that it is off."""
    actor.require(Permission.HOST_WRITE)
    _require_in_service(host)
    if not hasattr(host, "fence_agent"):
        words = "It has no fence agent. Give it one, or confirm by hand that it is off."
        raise Conflict(words, code="no_fence_agent")
    return _fail_over(actor, host, f"Fence off {host.name}")


@transaction.atomic
def confirm_off(*, actor: Actor, host: Host, typed: str) -> Operation:
    """Vouch that its power is off, and start its machines elsewhere. A machine that still runs there would be damaged.

    `typed` must be its name. Raises Invalid at `name`, and Conflict while it answers.
    """
    actor.require(Permission.HOST_WRITE)
    if typed != host.name:
        raise Invalid("This is not its name; nothing was begun.", field="name")
    _require_in_service(host)
    if host.is_reachable:
        raise Conflict("It answered a moment ago, so it is not off.", code="host_answers")
    log.record("host.confirmed-off", actor=actor, target=host, detail=f"{actor.label} typed {typed}")
    return _fail_over(actor, host, f"Start the machines of {host.name} elsewhere", confirmed_by=actor.label)


def begin(host: Host) -> None:
    """For a host that is suspected, where its cluster's policy is automatic.

    Once for each suspicion: a proof that cannot be had then is an administrator's to give.
    """
    tried = Operation.objects.unscoped("failover").filter(kind=FAILOVER.kind, target_id=host.pk)
    host.refresh_from_db()
    if host.suspected_at is None or host.has_failed or tried.filter(created_at__gte=host.suspected_at).exists():
        return
    with suppress(Conflict):  # somebody was faster
        _fail_over(SYSTEM, host, f"Fail over {host.name}", is_automatic=True)


def take_back(host: Host) -> None:
    """A failed host answers again: it is cleared before anything else."""
    tried = Operation.objects.unscoped("failover").filter(kind=RETURN.kind, target_id=host.pk)
    if not tried.filter(finished_at__gte=timezone.now() - CLEAR_AGAIN).exists():
        with suppress(Conflict):  # its failover goes on
            clear(actor=SYSTEM, host=host)


@transaction.atomic
def clear(*, actor: Actor, host: Host) -> Operation:
    """Remove from it what runs elsewhere by now; afterwards it is cordoned. Raises Conflict where it has not failed."""
    actor.require(Permission.HOST_WRITE)
    lock_host(host)  # no machine is moved from it while it is cleared
    if not host.has_failed:
        raise Conflict("It has not failed.", code="wrong_state")
    title = f"Clear {host.name} of what runs elsewhere"
    return operations.submit(RETURN, actor=actor, target=host, title=title, lane=host.pk)


def recover_waiting() -> None:
    """Machines that found no room elsewhere, or were busy, when their host failed."""
    for host in Host.objects.filter(state=HostState.FAILED):
        try:
            recover.recover_all(host)
        except Exception:  # it keeps no other host's machines down
            logger.exception("recovering the machines of %s", host.name)
    recover.recover_again()


def _require_in_service(host: Host) -> None:
    """As it is now, and it stays so until the transaction ends."""
    lock_host(host)
    if host.has_failed:
        raise Conflict("It has failed already.", code="wrong_state")


def _fail_over(actor: Actor, host: Host, title: str, **params: Any) -> Operation:
    """On no lane: the host's own is waiting for it. A check, say, of a host that does not answer makes way."""
    return operations.submit(FAILOVER, actor=actor, target=host, title=title, params=params, displaces=True)
