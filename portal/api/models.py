"""Answers that are kept for a while, so that a request that is sent again acts once."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from portal.core.models import Row


class KeptAnswer(Row):
    """The answer to a changing request with an idempotency key, written in the transaction of what the request did.

    `realm` keeps apart what must not answer for each other: "" for the API, the tenant's id for a token that is
    narrowed to it, "pages" for forms. `fingerprint` tells whether it is the same request.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    realm = models.CharField(max_length=36, blank=True)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    location = models.TextField(blank=True)
    body = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "realm", "key"], name="one_answer_per_user_and_key")]
        indexes = [models.Index(fields=["created_at"], name="kept_answer_by_age")]
