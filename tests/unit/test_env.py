"""The secret key: made once, whole, whoever asks at the same time."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from portal import env


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(env, "DATA_DIR", tmp_path)
    monkeypatch.delenv("BERTH_SECRET_KEY", raising=False)
    return tmp_path


def test_it_is_made_once_and_its_owners_only(data: Path) -> None:
    key = env.secret_key()
    assert len(key) >= 50
    assert env.secret_key() == key
    assert [path.name for path in data.iterdir()] == ["secret-key"]
    assert stat.S_IMODE((data / "secret-key").stat().st_mode) == 0o600


def test_one_that_is_killed_while_it_writes_leaves_no_empty_key(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", killed)
        with pytest.raises(Killed):
            env.secret_key()
    assert len(env.secret_key()) >= 50


def test_all_who_ask_at_the_same_time_get_the_same(data: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: env.secret_key(), range(32)))) == 1
