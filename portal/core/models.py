"""What every row of ours has in common."""

from __future__ import annotations

from django.db import models

from portal.core.ids import uuid7


class Row(models.Model):
    """A row with an opaque, public id and the time of its making."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(auto_now_add=True, editable=False)

    class Meta:
        abstract = True
