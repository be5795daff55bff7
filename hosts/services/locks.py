"""What everybody takes who changes a host, places something there, begins an operation on it, or removes it."""

from __future__ import annotations

from hosts.models import Host
from portal.core.errors import NotFound
from portal.quotas import ledger


def lock_host(host: Host) -> None:
    """Brings `host` up to date, and keeps it so until the transaction ends. Raises NotFound where it was removed."""
    try:
        ledger.lock(host.pk)
    except ledger.NoAccount:
        raise NotFound("This host is gone.") from None
    host.refresh_from_db()
