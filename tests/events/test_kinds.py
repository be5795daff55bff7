"""The kinds of events have one form, which programs filter by: words with dots and hyphens."""

from __future__ import annotations

import re
from pathlib import Path

from portal.operations.workflow import kinds
from portal.web.presenters.event import _WORDS

ROOT = Path(__file__).parents[2]
RECORDED = re.compile(r"""(?:record(?:_all)?\(|_tell_source\(|_wake_stuck\()[^")]*f?"([^"]+)\"""")


def test_all_are_of_one_form() -> None:
    files = [file for app in ("portal", "hosts", "vms") for file in (ROOT / app).rglob("*.py")]
    recorded = {re.sub(r"\{.*?\}", "", kind) for file in files for kind in RECORDED.findall(file.read_text())}
    assert len(recorded) > 30
    assert [kind for kind in sorted({*recorded, *_WORDS, *kinds()}) if "_" in kind] == []
