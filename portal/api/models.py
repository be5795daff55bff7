"""Answers that are kept for a while, so that a request that is sent again acts once."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from portal.core.models import Row


class KeptAnswer(Row):
    """The answer to a changing call with an Idempotency-Key, written in the transaction of what the call did.

    `narrowed_to` is the tenant of a narrowed token, "" for everything else: such a token must not get answers that
    its user got elsewhere. `fingerprint` tells whether it is the same request.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    narrowed_to = models.CharField(max_length=36, blank=True)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    location = models.CharField(max_length=200, blank=True)
    body = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "narrowed_to", "key"], name="one_answer_per_user_and_key")
        ]
        indexes = [models.Index(fields=["created_at"], name="kept_answer_by_age")]
