"""Credentials for registries and the sources that have them, without a client of registries."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """Credentials for a registry, in one of three forms: user name and password, identity token, registry token."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """An OAuth2 refresh token, as `docker login` stores it."""
    registry_token: str = ""
    """A bearer token to send as it is."""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, …)"


class CredentialSource(Protocol):
    """A source of credentials, such as Docker's configuration."""

    def credentials(self, host: str) -> Credentials | None:
        """Return the credentials for a registry, by its domain as in references (`docker.io`, `localhost:5000`)."""
        ...

    def looked(self, host: str) -> str:
        """Return where credentials are looked for, and whether any were found, as the end of a sentence."""
        ...
