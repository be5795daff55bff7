"""`Idempotency-Key`: a changing call that is sent again, with the same key, acts once and gets the first answer.

The answer is kept in the transaction of what the call did (`kept`). A mark in the cache, with a short life, tells a
second call that the first one is still under way; where the cache is away it waits for the database instead, and then
gets the first answer. Refusals change nothing and are not kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from portal.accounts.models import ApiToken, User
from portal.api.kept import act_once, find
from portal.api.models import KeptAnswer
from portal.core.errors import Conflict, DomainError, Invalid

HEADER = "Idempotency-Key"
UNDER_WAY_SECONDS = 20  # more than any request takes; a process that dies leaves its mark


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
        raise Invalid(f"{HEADER}: use 1 to 255 printable ASCII.", code="invalid_idempotency_key", field=HEADER)
    wanted = _wanted(request, key)
    if (kept := find(wanted)) is not None:
        return _replay(kept, wanted)
    with _under_way(wanted):
        answer = act_once(wanted, act, lambda response: _note(wanted, response, secrets))
    return _replay(answer, wanted) if isinstance(answer, KeptAnswer) else answer


def _wanted(request: Request, key: str) -> KeptAnswer:
    """The row as it is to be kept. The body's bytes tell requests apart, not what they mean."""
    assert isinstance(request.user, User)
    token = request.auth
    realm = str(token.tenant_id or "") if isinstance(token, ApiToken) else ""
    head = f"{request.method} {request.get_full_path()}\n".encode()
    fingerprint = hashlib.sha256(head + request._request.body).hexdigest()
    return KeptAnswer(user=request.user, realm=realm, key=key, fingerprint=fingerprint)


def _replay(kept: KeptAnswer, wanted: KeptAnswer) -> Response:
    if kept.fingerprint != wanted.fingerprint:
        raise Mismatch(f"This {HEADER} was used for another request; choose a new one.")
    headers = {"Idempotent-Replayed": "true"} | ({"Location": kept.location} if kept.location else {})
    return Response(json.loads(kept.body), status=kept.status, headers=headers)


@contextmanager
def _under_way(wanted: KeptAnswer) -> Iterator[None]:
    digest = hashlib.sha256(wanted.key.encode()).hexdigest()
    mark = f"idempotency:{wanted.user_id}:{wanted.realm}:{digest}"
    if not cache.add(mark, 1, UNDER_WAY_SECONDS):
        raise Conflict(
            f"The first request with this {HEADER} is still under way; send it again in a moment.",
            code="idempotency_in_flight",
        )
    try:
        yield
    finally:
        cache.delete(mark)


def _note(wanted: KeptAnswer, response: Response, secrets: tuple[str, ...]) -> bool:
    shown: Any = response.data
    if secrets:
        shown = {name: None if name in secrets else value for name, value in shown.items()}
    wanted.status = response.status_code
    wanted.location = response.get("Location", "")
    wanted.body = json.dumps(shown, cls=JSONEncoder)
    return True
