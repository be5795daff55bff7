"""Emptying the bin of what has lain there for its time."""

from __future__ import annotations

import logging
from datetime import datetime

from portal.core.errors import DomainError
from portal.tenancy.gate import SYSTEM
from vms.models import VM
from vms.services.delete import purge_vm

MOST_AT_ONCE = 200
logger = logging.getLogger(__name__)


def empty(now: datetime) -> None:
    """What is busy, or refused for another reason, is passed over and tried again the next time."""
    rows = VM.objects.unscoped("emptying the bin").filter(purge_at__lte=now).exclude(binned_at=None)
    begun = 0
    for id in list(rows.order_by("purge_at").values_list("pk", flat=True)):
        vm = rows.filter(pk=id).first()
        begun += vm is not None and _is_begun(vm)
        if begun == MOST_AT_ONCE:
            return


def _is_begun(vm: VM) -> bool:
    try:
        purge_vm(actor=SYSTEM, vm=vm)
    except DomainError as refusal:
        logger.info("machine %s stays in the bin: %s", vm.pk, refusal.detail)
        return False
    return True
