"""Budgets by the clock: looked at, told of, and where one says so its tenant's machines are stopped."""

from __future__ import annotations

from portal.billing import budgets
from vms.services import tenants


def follow() -> None:
    """Again and again, so it finds its way after any crash. Nobody's machines are stopped before people were told."""
    budgets.evaluate()
    budgets.tell()
    for tenant in budgets.to_stop():
        tenants.stop_machines(tenant, budgets.KEEPER)
