"""What a restored database still says of the time before."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from portal.backup.settle import settle
from portal.operations.lease import claim
from portal.operations.models import Operation
from portal.operations.states import State

pytestmark = pytest.mark.django_db
LONG_AGO = timezone.now() - timedelta(days=30)
TIME = timedelta(minutes=15)


def operation(state: State, **fields: object) -> Operation:
    names = {"kind": "vm.create", "title": "Create web", "target_type": "vm", "target_name": "web", "actor": "x"}
    begun = {"started_at": LONG_AGO + timedelta(hours=1), "deadline_at": LONG_AGO + timedelta(hours=1) + TIME}
    made = Operation.objects.create(target_id=uuid4(), source="UI", state=state, **{**names, **begun, **fields})
    Operation.objects.unscoped("test").filter(pk=made.pk).update(created_at=LONG_AGO)
    return made


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.UNWINDING])
def test_an_active_one_goes_on_at_once_with_its_whole_time(state: State) -> None:
    fields = {"fence": 3, "lease_owner": "elsewhere:1", "lease_until": timezone.now() + timedelta(seconds=20)}
    row = operation(state, not_before=timezone.now() + timedelta(minutes=1), **fields)
    assert claim(row.pk) is None
    assert settle() == 1
    taken = claim(row.pk)
    assert taken is not None
    assert taken.state == (State.RUNNING if state == State.QUEUED else state)
    assert taken.fence > 1000, "a host may have seen later attempts than the backup has"
    assert timedelta(minutes=14) < taken.deadline_at - timezone.now() <= TIME


def test_the_same_backup_can_be_restored_twice() -> None:
    """A host remembers the attempts that were made after the first time."""
    first, again = operation(State.QUEUED, fence=7), operation(State.QUEUED, fence=7)
    settle()
    taken = claim(first.pk)
    assert taken is not None
    Operation.objects.unscoped("test").filter(pk=again.pk).update(fence=7)
    time.sleep(0.01)
    settle()
    later = claim(again.pk)
    assert later is not None
    assert later.fence > taken.fence


def test_one_that_never_began_keeps_its_time() -> None:
    row = operation(State.QUEUED, started_at=None, deadline_at=LONG_AGO + TIME)
    settle()
    taken = claim(row.pk)
    assert taken is not None
    assert timedelta(minutes=14) < taken.deadline_at - timezone.now() <= TIME


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.STUCK])
def test_what_has_ended_stays(state: State) -> None:
    row = operation(state, finished_at=LONG_AGO)
    assert settle() == 0
    row.refresh_from_db()
    assert (row.state, row.finished_at) == (state, LONG_AGO)
    assert claim(row.pk) is None


def test_everybody_signs_in_again() -> None:
    """A sign-out or a new password of the time since must not be undone."""
    Session.objects.create(session_key="x" * 32, session_data="", expire_date=timezone.now() + timedelta(days=1))
    settle()
    assert not Session.objects.exists()
