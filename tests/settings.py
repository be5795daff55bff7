"""The project's settings with what tests need; the services they start give their addresses by environment."""

import os
import tempfile

from portal.settings import *  # noqa: F403
from portal.settings import DATABASES, STORAGES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}

# A file, not memory: threads of one test must wait for each other's locks as processes do.
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["TEST"] = {"NAME": f"{tempfile.gettempdir()}/berth-tests-{os.getpid()}.sqlite3"}

FENCE_AGENTS = str(BASE_DIR / "deploy/lab")  # noqa: F405
