"""The starter image, built once for all tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def build_tiny() -> Path:
    """Built by the project's own script; kept between runs in the test cache, because packages rarely change."""
    kept = Path(os.environ.get("BERTH_TEST_CACHE", ROOT / "var" / "test-cache")) / "tiny.qcow2"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([ROOT / "deploy" / "tiny" / "build", kept], check=True)
    return kept


@pytest.fixture(scope="session")
def tiny_image() -> Path:
    return build_tiny()
