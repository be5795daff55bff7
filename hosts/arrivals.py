"""How the last migration to a host ended: nothing but a migration connects hosts with each other."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone

from hosts.models import Host


def note(target_id: UUID | str, source_id: UUID | str, *, has_arrived: bool) -> None:
    """`Host.arrival` from now on: {"at": ISO 8601, "source": name, "has_arrived": bool}."""
    source = Host.objects.filter(pk=source_id).values_list("name", flat=True).first() or ""
    arrival = {"at": timezone.now().isoformat(), "source": source, "has_arrived": has_arrived}
    Host.objects.filter(pk=target_id).update(arrival=arrival)
