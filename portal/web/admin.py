"""Django's admin: a last resort for looking, for superusers. Changing goes through the services."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.accounts.models import User
from portal.tenancy.models import Tenant
from portal.tenancy.scoping import TenantQuerySet
from portal.web.actor import actor_of


def _may_look(request: HttpRequest) -> bool:
    """Django's staff, unless the portal asks the provider's for a second factor that they lack."""
    user = request.user
    return isinstance(user, User) and user.is_active and user.is_staff and None not in actor_of(request).bars


admin.site.has_permission = _may_look  # type: ignore[method-assign]


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # no subscript at run time
    """Rows of all tenants, and nothing to press."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model._default_manager.all()
        if isinstance(rows, TenantQuerySet):
            rows = rows.unscoped("the last resort of superusers")
        ordered: QuerySet[Any] = rows.order_by(*self.get_ordering(request))
        return ordered

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(ReadOnly):
    list_display = ("username", "email", "provider_role", "is_active", "last_login")
    exclude = ("password",)


@admin.register(Tenant)
class TenantAdmin(ReadOnly):
    list_display = ("slug", "name", "created_at", "closed_at")


admin.site.unregister(Group)
