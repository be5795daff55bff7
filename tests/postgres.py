"""A private PostgreSQL for the tests that must be right on both databases."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import ROOT


def _program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    assert found, "PostgreSQL is not installed: apt-get install postgresql"
    return str(found[-1])


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DATABASE_URL of a server on a unix socket; it runs as `postgres` where the tests run as root."""
    base = Path(subprocess.run(["mktemp", "-d", "/tmp/berth-pg-XXXXXX"], capture_output=True, text=True).stdout.strip())
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(base, "postgres")
    data = base / "data"
    subprocess.run(
        [*as_user, _program("initdb"), "-D", data, "-A", "trust", "-U", "berth"], check=True, capture_output=True
    )
    options = f"-k {base} -c listen_addresses='' -c fsync=off -c max_connections=200"
    subprocess.run(
        [*as_user, _program("pg_ctl"), "-D", data, "-w", "-l", base / "log", "-o", options, "start"], check=True
    )
    try:
        subprocess.run([*as_user, _program("createdb"), "-h", base, "-U", "berth", "berth"], check=True)
        yield f"postgres://berth@/berth?host={base}"
    finally:
        subprocess.run([*as_user, _program("pg_ctl"), "-D", data, "-m", "immediate", "stop"], check=False)
        shutil.rmtree(base, ignore_errors=True)


def race(code: str, data: Path, database_url: str) -> None:
    """Run it in a process of its own, whose threads have connections of their own; "all well" is its last word."""
    environment = {**os.environ, "DATABASE_URL": database_url, "BERTH_DATA": str(data)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("all well")
