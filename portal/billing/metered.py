"""Rows that are metered: whatever changes what they hold is followed in the same transaction, however it is written.

A model that derives from `Metered`, with a manager whose queryset derives from `MeteredQuerySet`, cannot be changed
past the intervals: saving, deleting, `update` and `bulk_create` all pass here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, TypeVar

from django.db import models, transaction

from portal.billing import metering
from portal.tenancy.scoping import TenantQuerySet

M = TypeVar("M", bound=models.Model)


class MeteredQuerySet(models.QuerySet[M]):
    def update(self, **changes: Any) -> int:
        if not _is_metered(self.model, changes):
            return super().update(**changes)
        with transaction.atomic(savepoint=False):
            ids = self._metered_ids()
            changed = super().update(**changes)
            metering.follow(_kind(self.model), ids)
        return changed

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(savepoint=False):
            ids = self._metered_ids()
            deleted = super().delete()
            metering.follow(_kind(self.model), ids)
        return deleted

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        with transaction.atomic(savepoint=False):
            made = super().bulk_create(objs, *args, **kwargs)
            metering.follow(_kind(self.model), [_id_of(row) for row in made])
        return made

    def _metered_ids(self) -> list[Any]:
        return list(self.order_by().values_list(self.model.METERED_AS, flat=True))  # type: ignore[attr-defined]


class MeteredTenantQuerySet(MeteredQuerySet[M], TenantQuerySet[M]):  # type: ignore[override]  # of as_manager
    """Both guards: of tenants, and of meters."""


class Metered(models.Model):
    """`METERED` are the fields that decide what a row holds; `METERED_AS` is where the resource's id stands.

    `METERED_KIND` is the resource's kind, by default the model's own name.
    """

    METERED: ClassVar[frozenset[str]] = frozenset()
    METERED_AS: ClassVar[str] = "pk"
    METERED_KIND: ClassVar[str] = ""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        fields = kwargs.get("update_fields")
        if fields is not None and not _is_metered(type(self), fields):
            super().save(*args, **kwargs)
            return
        with transaction.atomic(savepoint=False):
            super().save(*args, **kwargs)
            metering.follow(_kind(type(self)), [_id_of(self)])

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic(savepoint=False):
            id = _id_of(self)
            deleted = super().delete(*args, **kwargs)
            metering.follow(_kind(type(self)), [id])
        return deleted


def _is_metered(model: type[Any], names: Collection[str]) -> bool:
    fields: frozenset[str] = model.METERED
    return not fields.isdisjoint(name.removesuffix("_id") for name in names)


def _kind(model: type[Any]) -> str:
    return str(model.METERED_KIND or model._meta.model_name)


def _id_of(row: Any) -> Any:
    return getattr(row, row.METERED_AS)
