"""API tokens: `berth_<prefix>_<secret>`, shown once, kept as a SHA-256 (160 random bits need no slow hash)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from portal.accounts.models import ApiToken, User

MARK = "berth"
_USE_IS_NOTED_EVERY = timedelta(minutes=1)


def issue(
    *,
    user: User,
    name: str,
    scopes: Sequence[str],
    tenant_id: UUID | None = None,
    expires_at: datetime | None = None,
    ip_ranges: Sequence[str] = (),
) -> tuple[ApiToken, str]:
    """A new token and its text, which cannot be had again."""
    prefix, secret = secrets.token_hex(4), secrets.token_urlsafe(30)
    token = ApiToken.objects.create(
        user=user,
        tenant_id=tenant_id,
        name=name,
        prefix=prefix,
        digest=_digest(secret),
        scopes=list(scopes),
        expires_at=expires_at,
        ip_ranges=list(ip_ranges),
    )
    return token, f"{MARK}_{prefix}_{secret}"


def find(text: str, address: str) -> ApiToken | None:
    """The live token with that text that is good from that address, or None; notes its use, at most once a minute."""
    mark, _, rest = text.partition("_")
    prefix, _, secret = rest.partition("_")
    if mark != MARK or not secret or len(text) > 200:
        return None
    token = ApiToken.objects.select_related("user").filter(prefix=prefix, user__is_active=True).first()
    if token is None or not hmac.compare_digest(token.digest, _digest(secret)):
        return None
    if token.is_over or not _is_within(address, token.ip_ranges):
        return None
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USE_IS_NOTED_EVERY)
    if token.last_used_at is None or token.last_used_at < now - _USE_IS_NOTED_EVERY:
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now, last_used_from=address or None)
    return token


def _is_within(address: str, ranges: Sequence[str]) -> bool:
    """Any address, where there are no ranges. IPv4 in IPv6's clothes counts as what it is."""
    if not ranges:
        return True
    try:
        caller = ip_address(address)
    except ValueError:
        return False
    caller = getattr(caller, "ipv4_mapped", None) or caller
    return any(caller in ip_network(each) for each in ranges)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
