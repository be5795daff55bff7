"""What Berth shows a host to be let in."""

from __future__ import annotations

from django.db import models

from hosts.access import Access, SshAccess, TlsAccess, of_certificates, of_keys
from portal.core.models import Row
from portal.core.sealed import seal, unseal


class AccessKind(models.TextChoices):
    SSH = "ssh", "SSH key"
    TLS = "tls", "Client certificate"


class HostAccess(Row):
    """A key with what is public about it. It never changes: another one takes its place.

    `public` is of SSH public_key and host_keys, of TLS ca_certificate and client_certificate; `sealed` is the private
    key, which no page and no answer ever shows.
    """

    kind = models.CharField(max_length=3, choices=AccessKind.choices)
    public = models.JSONField()
    sealed = models.TextField()
    expires_at = models.DateTimeField(null=True)

    @classmethod
    def of(cls, access: Access) -> HostAccess:
        sealed = seal(access.private_key)
        if isinstance(access, SshAccess):
            public = {"public_key": access.public_key, "host_keys": access.host_keys}
            return cls(kind=AccessKind.SSH, public=public, sealed=sealed)
        public = {"ca_certificate": access.ca_certificate, "client_certificate": access.client_certificate}
        return cls(kind=AccessKind.TLS, public=public, sealed=sealed, expires_at=access.expires_at)

    @property
    def fingerprint(self) -> str:
        """What the host is shown."""
        if self.kind == AccessKind.SSH:
            return of_keys(self.public["public_key"])[0]
        return of_certificates(self.public["client_certificate"])[0]

    @property
    def host_fingerprints(self) -> list[str]:
        """What the host is known by: its keys, or the CAs of its certificate."""
        if self.kind == AccessKind.SSH:
            return of_keys(self.public["host_keys"])
        return of_certificates(self.public["ca_certificate"])

    @property
    def opened(self) -> Access:
        """With its private key. Raises portal.core.sealed.CannotOpen."""
        own = unseal(self.sealed)
        if self.kind == AccessKind.SSH:
            return SshAccess(**self.public, private_key=own)
        assert self.expires_at is not None
        return TlsAccess(**self.public, expires_at=self.expires_at, private_key=own)
