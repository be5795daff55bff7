"""SSH keys and API tokens as their users keep them; a token is never stronger than what it is made with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from uuid import UUID

from allauth.usersessions.models import UserSession
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.accounts import services, ssh, tokens
from portal.accounts.models import ApiToken, SshKey, User
from portal.core import text
from portal.core.errors import Forbidden, Invalid, NotFound
from portal.events import log
from portal.tenancy.gate import ALL_SCOPES, Actor
from portal.tenancy.models import Tenant
from portal.tenancy.roles import Permission

Network = IPv4Network | IPv6Network
MOST_RANGES = 20


@transaction.atomic
def add_key(*, actor: Actor, public_key: str, name: str = "") -> SshKey:
    """Remember a key of the actor's, offered at each create from now on."""
    key = services.add_key(user=_whole_user(actor), public_key=public_key, name=name)
    log.record("ssh-key.added", actor=actor, target=key, after={"fingerprint": key.fingerprint})
    return key


@transaction.atomic
def remember_key(*, actor: Actor, public_key: str, field: str) -> SshKey:
    """The actor's key with this text, added where it is new. Raises Invalid at `field`."""
    _, fingerprint, _ = ssh.parse(public_key, field=field)
    known = SshKey.objects.filter(user=_whole_user(actor), fingerprint=fingerprint).first()
    return known or add_key(actor=actor, public_key=public_key)


@transaction.atomic
def remove_key(*, actor: Actor, key_id: UUID) -> SshKey:
    """Forget a key; machines that were made with it keep it. NotFound where it is not the actor's own."""
    key = services.remove_key(user=_whole_user(actor), key_id=key_id)
    log.record("ssh-key.removed", actor=actor, target=key, before={"fingerprint": key.fingerprint})
    return key


@transaction.atomic
def create_token(
    *,
    actor: Actor,
    made_with: ApiToken | None,
    name: str,
    scopes: Sequence[str],
    tenant: Tenant | None = None,
    expires_at: datetime | None = None,
    ip_ranges: Sequence[str] = (),
) -> tuple[ApiToken, str]:
    """A new token of the actor's and its text, which cannot be had again.

    `ip_ranges` are networks (CIDR) that it may be used from; none: anywhere. Made with a token, it takes over that
    one's tenant, end and networks where it names none itself; Forbidden ("token_wider") where it would reach further,
    do more, live longer, or be good from elsewhere.
    """
    user = _user(actor)
    _check(scopes, expires_at)
    networks = _networks(ip_ranges)
    tenant_id = tenant.pk if tenant else None
    if made_with is not None:
        tenant_id = tenant_id or made_with.tenant_id
        expires_at = expires_at or made_with.expires_at
        networks = networks or _networks(made_with.ip_ranges)
        _refuse_wider(made_with, scopes, tenant_id, expires_at)
        _refuse_from_elsewhere(made_with, networks)
    token, secret = tokens.issue(
        user=user,
        name=text.label(name),
        scopes=scopes,
        tenant_id=tenant_id,
        expires_at=expires_at,
        ip_ranges=[str(network) for network in networks],
    )
    after = {"scopes": list(scopes), "expires_at": expires_at.isoformat() if expires_at else None}
    after |= {"ip_ranges": token.ip_ranges} if networks else {}
    log.record("token.created", actor=actor, target=token, after=after)
    return token, secret


@transaction.atomic
def revoke_token(*, actor: Actor, token_id: UUID) -> None:
    """Programs that use it are refused from their next call on. NotFound where it is not the actor's own."""
    _user(actor)
    token = tokens_of(actor).filter(pk=token_id).first()
    if token is None:
        raise NotFound("There is no such token.")
    ApiToken.objects.filter(pk=token.pk).delete()
    log.record("token.revoked", actor=actor, target=token, before={"scopes": token.scopes})


def tokens_of(actor: Actor) -> QuerySet[ApiToken]:
    """The actor's own; to a token for one tenant, those for that tenant."""
    own = ApiToken.objects.filter(user=actor.user)
    return own.filter(tenant_id=actor.only_tenant) if actor.only_tenant else own


def sessions_of(actor: Actor) -> list[UserSession]:
    """The browsers in which the actor is signed in; those that have ended are forgotten."""
    return list(UserSession.objects.purge_and_list(_whole_user(actor)))


@transaction.atomic
def end_session(*, actor: Actor, session: UserSession) -> None:
    """Sign that browser out; `session` is one of `sessions_of`."""
    user = _whole_user(actor)
    session.end()
    log.record("user.session-ended", actor=actor, target=user, before={"address": session.ip})


def require_keys(actor: Actor) -> None:
    """Forbidden to a token for one tenant: SSH keys belong to none."""
    if actor.only_tenant:
        raise Forbidden("A token for one tenant does not reach its owner's SSH keys.", code="token_narrow")


def _whole_user(actor: Actor) -> User:
    require_keys(actor)
    return _user(actor)


def _user(actor: Actor) -> User:
    """Whose account it is."""
    actor.require(Permission.ACCOUNT_WRITE)
    assert actor.user is not None
    return actor.user


def _check(scopes: Sequence[str], expires_at: datetime | None) -> None:
    if not scopes:
        raise Invalid("Name at least one scope.", code="required", field="scopes")
    for scope in scopes:
        if scope != ALL_SCOPES and scope not in list(Permission):
            raise Invalid(f"There is no such scope: {scope[:40]}.", code="unknown_scope", field="scopes")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("Choose a time to come.", field="expires_at")


def _refuse_wider(
    made_with: ApiToken, scopes: Sequence[str], tenant_id: UUID | None, expires_at: datetime | None
) -> None:
    own = set(made_with.scopes)
    if ALL_SCOPES not in own and not set(scopes) <= own:
        raise _wider("A token cannot give scopes that it lacks.", "scopes")
    if made_with.tenant_id and tenant_id != made_with.tenant_id:
        raise _wider("A token for one tenant cannot make one for another.", "tenant")
    if made_with.expires_at and (expires_at is None or expires_at > made_with.expires_at):
        raise _wider("A token cannot make one that outlives it.", "expires_at")


def _networks(ranges: Sequence[str]) -> list[Network]:
    if len(ranges) > MOST_RANGES:
        raise Invalid(f"{MOST_RANGES} networks are the most.", field="ip_ranges")
    try:
        return [ip_network(each) for each in ranges]
    except ValueError as error:
        words = "Use networks such as 192.0.2.0/24 or 2001:db8::/32, or single addresses."
        raise Invalid(words, code="invalid_network", field="ip_ranges") from error


def _refuse_from_elsewhere(made_with: ApiToken, networks: Sequence[Network]) -> None:
    allowed = _networks(made_with.ip_ranges)
    if allowed and not all(any(_is_part(each, whole) for whole in allowed) for each in networks):
        raise _wider("A token cannot make one that is good from elsewhere.", "ip_ranges")


def _is_part(network: Network, whole: Network) -> bool:
    first, last = network.network_address, network.broadcast_address
    return first in whole and last in whole


def _wider(words: str, field: str) -> Forbidden:
    return Forbidden(words, code="token_wider", field=field)
