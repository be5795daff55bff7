"""Print the table of roles as docs/roles.md has it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from portal.accounts.models import ProviderRole
from portal.tenancy.roles import PERSONAL, PROVIDER_ROLES, TENANT_ROLES, Permission, Role

_HEAD = """# Roles

What each role may do; made of `portal/tenancy/roles.py` by `manage.py roles`. The words are the scopes of API tokens as
well. What everybody may who signed in, of what is their own or everybody's: {personal}.

A suspended tenant leaves its members what ends with `:read`. Where a second factor is demanded and missing, a role is
worth nothing.

"""


class Command(BaseCommand):
    help = "Print the table of roles, in Markdown."

    def handle(self, *args: Any, **options: Any) -> None:
        columns = {role.label: TENANT_ROLES[role] for role in Role}
        columns |= {label: PROVIDER_ROLES[value] for value, label in ProviderRole.choices if value}
        self.stdout.write(_HEAD.format(personal=", ".join(f"`{each}`" for each in sorted(PERSONAL))))
        self.stdout.write(_line(["", *columns]))
        self.stdout.write(_line(["---"] * (len(columns) + 1)))
        for permission in Permission:
            marks = ["✓" if permission in granted else "" for granted in columns.values()]
            self.stdout.write(_line([f"`{permission}`", *marks]))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
