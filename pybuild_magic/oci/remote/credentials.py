"""Credentials for registries, and the places that know them: the nouns, without a client of registries."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """Credentials for a registry. One of the three forms is filled."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """An OAuth2 refresh token, as `docker login` stores it."""
    registry_token: str = ""
    """A bearer token to send as it is."""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, …)"


class CredentialSource(Protocol):
    """Where credentials come from, such as Docker's configuration."""

    def credentials(self, host: str) -> Credentials | None:
        """Return those for a registry, by its domain as references have it (`docker.io`, `localhost:5000`)."""
        ...

    def looked(self, host: str) -> str:
        """Return where they are looked for, and whether they were found: the end of a sentence."""
        ...
