"""Which actions a machine's state allows."""

import pytest

from vms.states import Action, Facts, verdict, verdicts

STATUSES = ["building", "running", "paused", "stopped", "error", "deleting"]
WHATEVER_ITS_POWER = ("back-up", "restore-backup", "migrate")


@pytest.mark.parametrize("status", STATUSES)
def test_every_refusal_has_a_reason(status: str) -> None:
    for answer in verdicts(Facts(status)).values():
        assert answer.allowed != bool(answer.reason)


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ("building", set()),
        ("deleting", set()),
        (
            "running",
            {
                "attach-volume",
                "stop",
                "reboot",
                "force-off",
                "pause",
                "rename",
                "console",
                "protect",
                "delete",
                "snapshot",
                "clone",
                "publish",
                *WHATEVER_ITS_POWER,
            },
        ),
        (
            "paused",
            {
                "publish",
                "snapshot",
                "clone",
                "attach-volume",
                "force-off",
                "resume",
                "rename",
                "console",
                "protect",
                "delete",
                *WHATEVER_ITS_POWER,
            },
        ),
        (
            "stopped",
            {
                "snapshot",
                "attach-volume",
                "publish",
                "start",
                "resize",
                "clone",
                "rename",
                "protect",
                "delete",
                *WHATEVER_ITS_POWER,
            },
        ),
        ("error", {"rename", "protect", "delete", "restore-backup"}),
    ],
)
def test_what_each_status_allows(status: str, allowed: set[str]) -> None:
    assert {str(action) for action, answer in verdicts(Facts(status)).items() if answer.allowed} == allowed


def test_a_running_operation_stands_in_the_way_of_others_and_is_named() -> None:
    facts = Facts("running", busy_with="Stop web-1")
    assert "Stop web-1" in verdict(Action.REBOOT, facts).reason
    assert verdict(Action.CONSOLE, facts).allowed


def test_protection_stands_in_the_way_of_deletion_only() -> None:
    facts = Facts("running", is_protected=True)
    assert not verdict(Action.DELETE, facts).allowed
    assert verdict(Action.STOP, facts).allowed
    assert verdict(Action.UNPROTECT, facts).allowed
