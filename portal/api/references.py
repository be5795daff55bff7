"""What a body or a query points to by slug or id."""

from __future__ import annotations

from portal.core.errors import Invalid, NotFound
from portal.tenancy import selectors
from portal.tenancy.gate import Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission


def tenant_in(actor: Actor, reference: str | None, permission: Permission) -> Tenant | None:
    """None where none is named. Another's tenant is the same error as one that does not exist: Invalid at `tenant`."""
    if reference is None:
        return None
    try:
        return selectors.tenant(actor, reference, permission)
    except NotFound as error:
        raise Invalid("There is no such tenant.", code="unknown_reference", field="tenant") from error
