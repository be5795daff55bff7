"""For `./run audit`: does the database tell the truth about the hosts?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from portal.logs import left_to_words
from vms.audit.findings import Finding
from vms.audit.run import audit


class Command(BaseCommand):
    help = (
        "Compare all hosts with the database and list what is wrong. Changes nothing; exits 1 where it finds anything."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print the findings as a JSON list.")

    def handle(self, *args: Any, **options: Any) -> None:
        with left_to_words():
            findings = audit()
        if options["json"]:
            self.stdout.write(json.dumps([_public(finding) for finding in findings], indent=2))
        else:
            self._tell(findings)
        if findings:
            raise SystemExit(1)

    def _tell(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            place = f" on {finding.host}" if finding.host else ""
            self.stdout.write(f"{finding.kind}{place}: {finding.object}: {finding.detail}")
        total = f"{len(findings)} {'finding' if len(findings) == 1 else 'findings'}."
        self.stdout.write(total if findings else "All hosts have what the database says.")


def _public(finding: Finding) -> dict[str, str]:
    values = asdict(finding)
    return {name: str(values[name]) for name in ("kind", "host", "object", "detail")}
