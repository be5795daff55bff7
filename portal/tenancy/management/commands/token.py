"""Print a new API token, alone on stdout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from portal.accounts.models import User
from portal.tenancy import credentials
from portal.tenancy.gate import ALL_SCOPES, actor_for
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

LONGEST_DAYS = 3650


class Command(BaseCommand):
    help = "Print a new API token for USER; it can be seen only now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--tenant", help="narrow the token to this tenant (slug)")
        parser.add_argument("--scope", action="append", choices=sorted(Permission), help="may be given several times")
        parser.add_argument("--days", type=int, default=90, help="how long it lasts (90); 0 for ever")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(f"there is no active user {options['user']}")
        tenant = None
        if options["tenant"]:
            tenant = Tenant.objects.unscoped("command line").filter(slug=options["tenant"]).first()
            if tenant is None:
                raise CommandError(f"there is no tenant {options['tenant']}")
        if not 0 <= options["days"] <= LONGEST_DAYS:
            raise CommandError(f"--days is from 0 to {LONGEST_DAYS}")
        _, text = credentials.create_token(
            actor=actor_for(user, source="command line"),
            made_with=None,
            name="command line",
            scopes=options["scope"] or [ALL_SCOPES],
            tenant=tenant,
            expires_at=timezone.now() + timedelta(days=options["days"]) if options["days"] else None,
        )
        self.stdout.write(text)
