"""Querysets that refuse to run until somebody said for whom.

`for_actor(actor)` lists what the actor may see; `unscoped(reason)` is for the engine, the observer and the like, and
can be found by grep. Relations of an object in hand (`vm.disks.all()`) are scoped by that object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from portal.tenancy.gate import Actor

M = TypeVar("M", bound=models.Model)


class UnscopedQuery(RuntimeError):
    """A queryset over tenants' rows was about to run without `for_actor` or `unscoped`."""


class TenantQuerySet(models.QuerySet[M]):
    """For models with a `tenant` (null: the provider's own), and a `read_permission` that a role there must give."""

    _scoped = False

    def for_actor(self, actor: Actor) -> Self:
        queryset = self.unscoped("scoped right here")
        if actor.is_provider:
            return queryset
        return queryset.filter(self.visible_to(actor))

    def visible_to(self, actor: Actor) -> Q:
        return Q(tenant_id__in=actor.tenants_with(self.model.read_permission))  # type: ignore[attr-defined]

    def unscoped(self, reason: str) -> Self:
        queryset: Self = self._chain()  # type: ignore[attr-defined]
        queryset._scoped = True
        return queryset

    def _check(self) -> None:
        if not self._scoped and "instance" not in self._hints:  # type: ignore[attr-defined]
            raise UnscopedQuery(f"{self.model.__name__}: say for_actor(...) or unscoped(reason) first")

    def _clone(self) -> Self:
        clone = super()._clone()  # type: ignore[misc]
        clone._scoped = self._scoped
        return clone  # type: ignore[no-any-return]

    def _fetch_all(self) -> None:
        self._check()
        super()._fetch_all()

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return super().resolve_expression(*args, **kwargs)

    def iterator(self, *args: Any, **kwargs: Any) -> Iterator[M]:
        self._check()
        return super().iterator(*args, **kwargs)

    def count(self) -> int:
        self._check()
        return super().count()

    def exists(self) -> bool:
        self._check()
        return super().exists()

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._check()
        return super().aggregate(*args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        self._check()
        return super().update(**kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._check()
        return super().delete()
