"""Second factors: the secrets of authenticator apps and recovery codes are sealed in the database."""

from __future__ import annotations

from allauth.mfa.adapter import DefaultMFAAdapter

from portal.core.sealed import seal, unseal


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text)
