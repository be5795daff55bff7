"""SSH keys and API tokens as rows of their users; portal.tenancy.credentials has the use cases, with rights and log."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from portal.accounts import ssh
from portal.accounts.models import SshKey, User
from portal.core import text
from portal.core.errors import Conflict, NotFound


@transaction.atomic
def add_key(*, user: User, public_key: str, name: str = "") -> SshKey:
    """Remember a key, offered at each create from now on; without a name it takes the key's comment."""
    line, fingerprint, comment = ssh.parse(public_key)
    name = text.label(name or comment[:100] or fingerprint[:19])
    key = SshKey(user=user, name=name, public_key=line, fingerprint=fingerprint)
    try:
        with transaction.atomic():
            key.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("You have added this key already.", code="duplicate", field="public_key") from error
    return key


@transaction.atomic
def remove_key(*, user: User, key_id: UUID) -> SshKey:
    """Forget a key; machines that were made with it keep it."""
    key = SshKey.objects.filter(user=user, pk=key_id).first()
    if key is None:
        raise NotFound("There is no such key.")
    SshKey.objects.filter(pk=key.pk).delete()
    return key
