"""What a backup's state allows, and what libvirt's documents say of one."""

import pytest

from hosts.driver.types import Consistency
from hosts.driver.xml.backup import consistency_of, has_agent, written_volumes
from tests.unit.xml.specs import BACKUP, BACKUP_FILES, DOCUMENTS
from vms.backup_states import BackupAction, BackupFacts, verdicts

GOOD = {"is_ready": True, "busy_with": "", "damage": "", "has_children": False, "why_not_vm": ""}
BOTH_RESTORES = {BackupAction.RESTORE, BackupAction.RESTORE_AS_NEW}


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        ({}, set()),
        ({"busy_with": "Verify it"}, set(BackupAction)),
        ({"is_ready": False}, set(BackupAction)),
        ({"damage": "a file is missing."}, BOTH_RESTORES),
        ({"damage": "a file is missing.", "has_children": True}, BOTH_RESTORES | {BackupAction.DELETE}),
        ({"has_children": True}, set()),
        ({"why_not_vm": "Its machine is gone."}, {BackupAction.RESTORE}),
    ],
)
def test_what_is_refused_with_a_reason(facts: dict[str, object], refused: set[BackupAction]) -> None:
    found = verdicts(BackupFacts(**{**GOOD, **facts}))  # type: ignore[arg-type]
    assert {action for action, verdict in found.items() if not verdict.allowed} == refused
    assert all(verdict.reason for verdict in found.values() if not verdict.allowed)


def test_what_a_running_backup_writes() -> None:
    assert written_volumes(DOCUMENTS["backup"]) == {path.rpartition("/")[2] for path in BACKUP_FILES.values()}
    assert {disk.name for disk in BACKUP.disks} == written_volumes(DOCUMENTS["backup"])


def test_what_a_checkpoint_remembers() -> None:
    assert consistency_of(DOCUMENTS["checkpoint"]) is Consistency.FROZEN
    assert consistency_of("<domaincheckpoint><description>mine</description></domaincheckpoint>") is Consistency.CRASH
    assert consistency_of("<domaincheckpoint/>") is Consistency.CRASH


@pytest.mark.parametrize(("state", "found"), [("connected", True), ("disconnected", False)])
def test_whether_an_agent_answers(state: str, found: bool) -> None:
    target = f"<target type='virtio' name='org.qemu.guest_agent.0' state='{state}'/>"
    assert has_agent(f"<domain><devices><channel>{target}</channel></devices></domain>") is found
