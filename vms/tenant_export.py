"""What a tenant has, in one document: to be taken along before it ends. Disks are had by backups and images."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet
from django.forms.models import model_to_dict

from portal.quotas import selectors as quotas
from portal.tenancy.gate import Actor
from portal.tenancy.models import Membership, Tenant
from portal.tenancy.roles import Permission
from vms.models import VM, AffinityGroup, Backup, Image, Schedule, Snapshot, Volume

_SECRET = {"user_data", "ssh_keys"}
_OURS = {"host", "layer", "lane", "tuning", "current_snapshot"}


def document(actor: Actor, tenant: Tenant) -> dict[str, Any]:
    """In JSON's types, by kind; without secrets and without what is the provider's. As large as the quota allows."""
    actor.require(Permission.TENANT_CLOSE, tenant.pk)
    usage = quotas.usage(actor, tenant)
    members = Membership.objects.filter(tenant=tenant).select_related("user")
    return {
        "tenant": {"id": str(tenant.pk), "slug": tenant.slug, "name": tenant.name},
        "quota": {"limits": dict(usage.limits), "used": dict(usage.used)},
        "members": [{"username": each.user.get_username(), "role": each.role} for each in members],
        "vms": _rows(VM.objects.unscoped("export").filter(tenant=tenant).prefetch_related("nics")),
        "volumes": _rows(Volume.objects.unscoped("export").filter(tenant=tenant)),
        "snapshots": _rows(Snapshot.objects.unscoped("export").filter(tenant=tenant)),
        "backups": _rows(Backup.objects.unscoped("export").filter(tenant=tenant)),
        "images": _rows(Image.objects.unscoped("export").filter(tenant=tenant)),
        "schedules": _rows(Schedule.objects.unscoped("export").filter(tenant=tenant)),
        "groups": _rows(AffinityGroup.objects.unscoped("export").filter(tenant=tenant)),
    }


def _rows(rows: QuerySet[Any]) -> list[dict[str, Any]]:
    return [_row(each) for each in rows]


def _row(row: Model) -> dict[str, Any]:
    fields = [field.name for field in row._meta.concrete_fields if field.name not in _SECRET | _OURS]
    values = {name: _plain(value) for name, value in model_to_dict(row, fields=fields).items()}
    nics = getattr(row, "nics", None)
    addresses = {"addresses": [str(nic.ip) for nic in nics.all()]} if nics is not None else {}
    return {"id": str(row.pk), **values, **addresses}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
