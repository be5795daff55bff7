"""The version of Berth; pyproject.toml has the same (tests/backup holds it to that)."""

VERSION = "0.1.0"
