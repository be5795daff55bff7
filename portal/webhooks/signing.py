"""The secrets of webhooks, and signatures by them.

A secret is derived from the installation's own key and the webhook's id, so the database and its backups hold none. It
changes with its generation; for a while after that, messages carry the signatures of both.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime

from django.utils import timezone
from django.utils.crypto import salted_hmac
from standardwebhooks import Webhook as Signer

from portal.webhooks.models import Webhook


def secret(webhook: Webhook, generation: int | None = None) -> str:
    """As receivers are given it: `whsec_` and 32 bytes in base64."""
    named = f"{webhook.pk}:{generation or webhook.generation}"
    return f"whsec_{b64encode(salted_hmac('portal.webhooks', named, algorithm='sha256').digest()).decode()}"


def headers(webhook: Webhook, id: str, body: str, now: datetime | None = None) -> dict[str, str]:
    """The three headers of Standard Webhooks for a message that is sent now."""
    now = now or timezone.now()
    generations = [webhook.generation]
    if webhook.previous_until is not None and now < webhook.previous_until:
        generations.append(webhook.generation - 1)
    signatures = [Signer(secret(webhook, generation)).sign(id, now, body) for generation in generations]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
