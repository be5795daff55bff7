"""Loaded into a worker by tests only (celery -I tests.hold): holds it at one step, where a kill is to hit."""

from __future__ import annotations

import os
import time
from pathlib import Path

from portal.operations import engine

MOMENT, _, STEP = os.environ["BERTH_TEST_HOLD"].partition(":")


def hold(moment: str, step: str) -> None:
    if (moment, step) != (MOMENT, STEP):
        return
    (Path(os.environ["BERTH_DATA"]) / "held").touch()
    while True:
        time.sleep(1)


engine.step_hook = hold
