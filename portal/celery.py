"""The Celery application; tasks carry one id and nothing else."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu.transport.redis import Channel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# A message is only a bell, so none is given back when the broker is lost; kombu 5.7 would try, and end the worker.
Channel.do_restore = False


@setup_logging.connect  # type: ignore[untyped-decorator]
def _leave_logging_alone(**_: Any) -> None:
    """Django has set it up (portal.logs); with a receiver here Celery changes no level and no handler."""
