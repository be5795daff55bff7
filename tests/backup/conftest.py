"""Installations without running parts: a data directory with a database, and the commands as `./run` calls them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.postgres import postgres  # noqa: F401  the fixture
from tests.stack import ROOT, free_port

PASSPHRASE = "correct horse battery staple"
LOCKS = {"backup.lock", "parts.lock", "supervisor.pid"}


@dataclass
class Installation:
    """`data` is its BERTH_DATA, which need not exist."""

    data: Path
    database_url: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "BERTH_DATA": str(self.data),
            "BERTH_PORT": str(self.port),
            "REDIS_URL": f"unix://{self.data}/nobody.sock",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONPATH": str(ROOT),
            **({"DATABASE_URL": self.database_url} if self.database_url else {}),
        }
        left_out = ("DATABASE_URL", "BERTH_")
        return {name: value for name, value in os.environ.items() if not name.startswith(left_out)} | own | self.extra

    @property
    def database(self) -> Path:
        return self.data / "berth.sqlite3"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )

    def manage(self, *arguments: str) -> str:
        done = self.run("manage.py", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def back_up(self, *arguments: str, **environment: str) -> Path:
        done = self.run("-m", "portal.backup", "create", *arguments, **environment)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    def restore(self, file: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "portal.backup", "restore", str(file), *arguments, **environment)

    def refuses(self, file: Path, *arguments: str, **environment: str) -> str:
        """The words of a restore that must change nothing."""
        before = self.content()
        done = self.restore(file, *arguments, **environment)
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert self.content() == before
        return done.stderr

    def content(self) -> dict[str, str]:
        """All files by their digests."""
        files = [path for path in self.data.rglob("*") if path.is_file() and path.name not in LOCKS]
        return {str(path.relative_to(self.data)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def installed(installation: Installation) -> Installation:
    installation.manage("migrate", "-v0")
    installation.manage("seed")
    return installation


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """One that nobody changes."""
    origin = installed(Installation(tmp_path_factory.mktemp("origin")))
    (origin.data / "images").mkdir()
    (origin.data / "images" / "image-0.qcow2").write_bytes(b"QFI\xfb" + os.urandom(100_000))
    return origin


@pytest.fixture(scope="session")
def backup(origin: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return origin.back_up(str(tmp_path_factory.mktemp("backups") / "plain.zip"), "--with-images")


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """With other secrets; nobody changes it either."""
    return installed(Installation(tmp_path_factory.mktemp("another") / "data"))


@pytest.fixture
def standing(another: Installation, tmp_path: Path) -> Installation:
    """An installation that is in the way."""
    shutil.copytree(another.data, tmp_path / "data")
    return Installation(tmp_path / "data")


@pytest.fixture
def empty(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "data")
