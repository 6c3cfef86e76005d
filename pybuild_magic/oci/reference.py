"""Names of images (`docker.io/library/busybox:latest@sha256:…`), by the grammar of distribution/reference."""

from __future__ import annotations

import re

import msgspec

from ..errors import UsageError
from .digest import is_digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
DEFAULT_HOST = "registry-1.docker.io"
"""The host that serves `docker.io`."""
_OFFICIAL = "library/"
_MAX_PATH = 255
_MAX_INPUT = 4096
"""Longer than any name with tag and digest; a bound for the regular expressions below."""

_WORD = r"[a-z0-9]+"
_COMPONENT = rf"{_WORD}(?:(?:[._]|__|-+){_WORD})*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"(?:({_DOMAIN})/)?({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?")
_HEX64 = re.compile(r"[a-f0-9]{64}")
_TAG_ONLY = re.compile(_TAG)


class Reference(msgspec.Struct, frozen=True):
    """A normalised name: `domain` and `path` are always set, `tag` and `digest` where they were given."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """Return the whole name, `docker.io/library/busybox:1@sha256:…`."""
        return self.name + self._suffix

    @property
    def name(self) -> str:
        """Domain and path, without tag and digest: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar(self) -> str:
        """The name as people write it, without Docker Hub's domain and `library/`: `busybox:1`."""
        if self.domain != DEFAULT_DOMAIN:
            return str(self)
        rest = self.path.removeprefix(_OFFICIAL)
        return (self.path if "/" in rest else rest) + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def tagged(self) -> Reference:
        """Return the reference, with the tag `latest` if it has neither tag nor digest."""
        return self if self.tag or self.digest else self.with_tag(DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """Return the reference with another tag. Raises UsageError."""
        if _TAG_ONLY.fullmatch(tag) is None:
            raise UsageError(f'"{tag}" is not a tag: up to 128 letters, digits, "_", "." and "-".')
        return Reference(self.domain, self.path, tag, self.digest)

    def with_digest(self, digest: str) -> Reference:
        """Return the reference pinned to `digest`. Raises UsageError."""
        if not is_digest(digest):
            raise UsageError(f'"{digest}" is not a digest: sha256: and 64 hexadecimal digits.')
        return Reference(self.domain, self.path, self.tag, digest)


def parse(text: str) -> Reference:
    """Return the reference in `text`, with Docker Hub's short names completed. Raises UsageError.

    No tag is added: see `Reference.tagged`. The messages are those of distribution/reference.
    """
    if not text:
        raise _invalid(text, "repository name must have at least one component")
    if _HEX64.fullmatch(text):
        raise _invalid(text, "a name cannot be 64 hexadecimal digits")
    domain, rest = _split_domain(text)
    remote = rest.partition(":")[0]
    if remote != remote.lower():
        raise _invalid(text, f"repository name ({remote}) must be lowercase")
    whole = f"{domain}/{rest}"
    match = _REFERENCE.fullmatch(whole) if len(whole) <= _MAX_INPUT else None
    if match is None:
        raise _invalid(text)
    if len(match[2]) > _MAX_PATH:
        raise _invalid(text, f"repository name must not be more than {_MAX_PATH} characters")
    digest = match[4] or ""
    if digest and not is_digest(digest):
        raise _invalid(text, "invalid checksum digest format")
    return Reference(match[1] or "", match[2], match[3] or "", digest)


def familiar(text: str) -> str:
    """Return `text` as people write it, or unchanged when it is not a reference. For messages and displays."""
    try:
        return parse(text).familiar
    except UsageError:
        return text


def _split_domain(text: str) -> tuple[str, str]:
    """Return (domain, rest), by Docker's rule of what counts as a domain."""
    first, slash, rest = text.partition("/")
    is_domain = first == "localhost" or any(c in first for c in ".:") or first != first.lower()
    domain, remote = (first, rest) if slash and is_domain else (DEFAULT_DOMAIN, text)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remote:
        remote = _OFFICIAL + remote
    return domain, remote


def _invalid(text: str, reason: str = "") -> UsageError:
    message = f'"{text[:200]}" is not an image name: invalid reference format'
    return UsageError(message + (f": {reason}." if reason else "."))
