"""The Celery application; tasks carry one id and nothing else."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_init
from kombu.transport.redis import Channel, Transport

from portal.core import presence

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

logger = logging.getLogger(__name__)
app = Celery("portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# A message is only a bell, so none is given back when the broker is lost; kombu 5.7 would try, and end the worker.
Channel.do_restore = False


class BellChannel(Channel):
    """What is no message is dropped; by itself it would end the worker that took it."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("dropped what is no message: %s", type(error).__name__)
            return True


Transport.Channel = BellChannel


@setup_logging.connect  # type: ignore[untyped-decorator]
def _leave_logging_alone(**_: Any) -> None:
    """Django has set it up (portal.logs); with a receiver here Celery changes no level and no handler."""


@worker_init.connect  # type: ignore[untyped-decorator]
@beat_init.connect  # type: ignore[untyped-decorator]
def _be_present(**_: Any) -> None:
    presence.hold()
