"""Loaded into a worker by tests only (celery -I tests.hold): stops it, or lets a step fail, exactly where a test says.

An order is a file `MOMENT:STEP` in BERTH_DATA/orders that holds a word: "hold" or "fail". The first worker process that
comes there takes it, by renaming it to BERTH_DATA/held, and a hold lasts until that file is gone.
Moments are "before", "during" and "after" a step, "undo" and "during-undo"; "during" is after the first call that
changes a host, its power, or a file of images, and where a step, or its undo, makes none it is its end. What each
process comes by is written to orders/trace.

An order `again:STEP` holds a moment instead, and counts when that step is come by for the second time; while there is
one named `slow:copy`, disks are copied at a few MiB a second.

BERTH_TEST_MUTATION takes one safeguard away, so that tests can prove that they would notice: see `MUTATIONS`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from django.db.models import Q

from hosts import connections, fencing
from hosts.driver.kvm import copy
from portal.operations import engine, heartbeat, journal, lease, tasks
from portal.operations.workflow import StepFailed
from vms import image_store, intake

DATA = Path(os.environ["BERTH_DATA"])
ORDERS, HELD = DATA / "orders", DATA / "held"
LOOKS = frozenset({"facts", "inventory", "list_volumes", "volume", "leases", "list_domains", "state", "wait_for"})
LOOK_SECONDS = 0.02
SLOW_BYTES = 2 << 20  # a second

_step = ""
_is_undoing = False


def come_by(moment: str, step: str) -> None:
    """The engine's hook: "before" or "after" a step, "undo" before and "undone" after one is undone."""
    global _step, _is_undoing
    _step, _is_undoing = step, moment == "undo"
    _note(moment, step)
    if moment == "before":
        _come_again(step)
        copy.PARAMETERS["bandwidth"] = SLOW_BYTES if (ORDERS / "slow:copy").exists() else 0
    if moment == "after":
        _obey("during", step)
    if moment == "undone":
        _obey("during-undo", step)
    _obey(moment, step)


def _come_again(step: str) -> None:
    """An order for the second time counts from here on, in whichever process."""
    again, once = ORDERS / f"again:{step}", ORDERS / f"once:{step}"
    if not again.exists():
        return
    if not once.exists():
        once.touch()
        return
    moment = again.read_text()
    again.unlink()
    (ORDERS / f"{moment}:{step}").write_text("hold")


def _note(moment: str, step: str) -> None:
    with (ORDERS / "trace").open("a") as trace:
        trace.write(f"{os.getpid()} {moment}:{step}\n")


def _obey(moment: str, step: str) -> None:
    order = ORDERS / f"{moment}:{step}"
    try:
        word = order.read_text()
        order.rename(HELD)
    except FileNotFoundError:
        return
    if word == "fail":
        HELD.unlink()
        raise StepFailed("injected", "The test let this step fail.")
    while HELD.exists():
        time.sleep(LOOK_SECONDS)


def _after_change(fenced: Any, name: str) -> Any:
    """In place of `_Fenced.__getattr__`: stops after a call that changes the host."""
    call = _fenced_call(fenced, name)
    if name in LOOKS:
        return call

    def changed(*arguments: Any, **options: Any) -> Any:
        result = call(*arguments, **options)
        _obey("during-undo" if _is_undoing else "during", _step)
        return result

    return changed


def _after_file(change: Callable[..., Any]) -> Callable[..., Any]:
    """The same for what is changed on the portal's own disk."""

    def changed(*arguments: Any, **options: Any) -> Any:
        result = change(*arguments, **options)
        _obey("during-undo" if _is_undoing else "during", _step)
        return result

    return changed


def _after_lock(locked: Callable[[], AbstractContextManager[None]]) -> Callable[[], AbstractContextManager[None]]:
    """After what is changed under a lock, of which nobody would get hold while a worker is stopped there."""

    @contextmanager
    def noted() -> Iterator[None]:
        with locked():
            yield
        _obey("during-undo" if _is_undoing else "during", _step)

    return noted


def _without_lease_check() -> None:
    heartbeat.Heartbeat.check = lambda self: None  # type: ignore[method-assign]
    journal.held = lease.held = lambda operation: Q(pk=operation.pk)  # type: ignore[assignment]


def _without_undo() -> None:
    engine._Run._undo_step = lambda self, row, step: None  # type: ignore[method-assign]


def _without_duplicate_guard() -> None:
    lease.is_free = tasks.is_free = lambda operation, now: True  # type: ignore[assignment]


MUTATIONS: dict[str, Callable[[], None]] = {
    "no-lease-check": _without_lease_check,
    "no-undo": _without_undo,
    "no-duplicate-guard": _without_duplicate_guard,
}

ORDERS.mkdir(exist_ok=True)
_fenced_call = connections._Fenced.__getattr__
connections._Fenced.__getattr__ = _after_change  # type: ignore[method-assign]
intake.remove = _after_file(intake.remove)
image_store.locked = _after_lock(image_store.locked)
fencing.cut_power = _after_file(fencing.cut_power)
engine.step_hook = come_by
if mutation := os.environ.get("BERTH_TEST_MUTATION"):
    MUTATIONS[mutation]()
