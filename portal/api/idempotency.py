"""`Idempotency-Key`: a changing call that is sent again, with the same key, acts once and gets the first answer.

The answer is kept in the transaction of what the call did, so both are there or neither. A mark in the cache, with a
short life, tells a second call that the first one is still under way; where the cache is away it waits for the
database instead, and then gets the first answer. Refusals change nothing and are not kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.utils import timezone
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from portal.accounts.models import ApiToken, User
from portal.api.models import KeptAnswer
from portal.core.errors import Conflict, DomainError, Invalid

HEADER = "Idempotency-Key"
KEPT_FOR = timedelta(hours=24)
UNDER_WAY_SECONDS = 60
log = logging.getLogger(__name__)


class Mismatch(DomainError):
    """The key belongs to another request."""

    status = 422
    code = "idempotency_mismatch"


def once(request: Request, act: Callable[[], Response], secrets: tuple[str, ...] = ()) -> Response:
    """Act, or give the answer that this key was given. Without a key it acts each time.

    `secrets` are members of the answer that are shown once, and so are null in a replay.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    if not re.fullmatch(r"[ -~]{1,255}", key):
        raise Invalid("Use 1 to 255 printable ASCII characters.", code="invalid_idempotency_key", field=HEADER)
    wanted = _wanted(request, key)
    if (kept := _find(wanted)) is not None:
        return _replay(kept, wanted)
    with _under_way(wanted):
        return _act(wanted, act, secrets)


def _wanted(request: Request, key: str) -> KeptAnswer:
    """The row as it is to be kept. The body's bytes tell requests apart, not what they mean."""
    assert isinstance(request.user, User)
    token = request.auth
    narrowed_to = str(token.tenant_id or "") if isinstance(token, ApiToken) else ""
    head = f"{request.method} {request.get_full_path()}\n".encode()
    fingerprint = hashlib.sha256(head + request._request.body).hexdigest()
    return KeptAnswer(user=request.user, narrowed_to=narrowed_to, key=key, fingerprint=fingerprint)


def _find(wanted: KeptAnswer) -> KeptAnswer | None:
    rows = KeptAnswer.objects.filter(user=wanted.user, narrowed_to=wanted.narrowed_to, key=wanted.key)
    return rows.filter(created_at__gt=timezone.now() - KEPT_FOR).first()


def _replay(kept: KeptAnswer, wanted: KeptAnswer) -> Response:
    if kept.fingerprint != wanted.fingerprint:
        raise Mismatch(f"This {HEADER} was used for another request; choose a new one.")
    headers = {"Idempotent-Replayed": "true"} | ({"Location": kept.location} if kept.location else {})
    return Response(json.loads(kept.body), status=kept.status, headers=headers)


@contextmanager
def _under_way(wanted: KeptAnswer) -> Iterator[None]:
    digest = hashlib.sha256(wanted.key.encode()).hexdigest()
    mark = f"idempotency:{wanted.user_id}:{wanted.narrowed_to}:{digest}"
    try:
        is_first = cache.add(mark, 1, UNDER_WAY_SECONDS)
    except RedisError as error:
        log.warning("an %s was not marked: %s", HEADER, error)
        is_first = True
    if not is_first:
        raise Conflict(
            f"The first request with this {HEADER} is still under way; send it again in a moment.",
            code="idempotency_in_flight",
        )
    try:
        yield
    finally:
        _forget(mark)


def _forget(mark: str) -> None:
    try:
        cache.delete(mark)
    except RedisError:
        log.warning("a mark of an %s stays for its life of %s s", HEADER, UNDER_WAY_SECONDS)


def _act(wanted: KeptAnswer, act: Callable[[], Response], secrets: tuple[str, ...]) -> Response:
    try:
        with transaction.atomic():
            KeptAnswer.objects.filter(created_at__lte=timezone.now() - KEPT_FOR).delete()
            with transaction.atomic():
                wanted.save(force_insert=True)
            response = act()
            _keep(wanted, response, secrets)
            return response
    except IntegrityError:
        kept = _find(wanted)
        if kept is None:
            raise
        return _replay(kept, wanted)  # another process was faster between the look and the leap


def _keep(wanted: KeptAnswer, response: Response, secrets: tuple[str, ...]) -> None:
    shown: Any = response.data
    if secrets:
        shown = {name: None if name in secrets else value for name, value in shown.items()}
    wanted.status = response.status_code
    wanted.location = response.get("Location", "")
    wanted.body = json.dumps(shown, cls=JSONEncoder)
    wanted.save(update_fields=["status", "location", "body"])
