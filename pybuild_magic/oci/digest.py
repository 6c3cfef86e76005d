"""Content digests, `sha256:…`, which name blobs: making and checking them."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from ..errors import UsageError

_ENCODED = {
    "sha256": re.compile(r"[a-f0-9]{64}"),
    "sha384": re.compile(r"[a-f0-9]{96}"),
    "sha512": re.compile(r"[a-f0-9]{128}"),
}
_WRITTEN = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


class Hash(Protocol):
    """The type of hashlib's objects."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add more of the content."""
        ...

    def hexdigest(self) -> str:
        """Return the hash of the content so far, in lower case hex."""
        ...


def sha256(data: bytes) -> str:
    """Return the digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Return whether `text` is a digest of a known algorithm in its canonical form."""
    algorithm, _, encoded = text.partition(":")
    pattern = _ENCODED.get(algorithm)
    return pattern is not None and pattern.fullmatch(encoded) is not None


def digest_error(text: str) -> str:
    """Return why `text` is not a digest, in the words of OCI's library; "" when it is one."""
    if is_digest(text):
        return ""
    algorithm, _, encoded = text.partition(":")
    if not _WRITTEN.fullmatch(text):
        return "invalid checksum digest format"
    if algorithm not in _ENCODED:
        return "unsupported digest algorithm"
    wrong = len(encoded) != 2 * hashlib.new(algorithm).digest_size
    return f"invalid checksum digest {'length' if wrong else 'format'}"


def check_digest(text: str) -> str:
    """Return `text` if it is a digest, which makes it safe as part of a path. Raises UsageError otherwise."""
    if not is_digest(text):
        raise UsageError(f'"{text}" is not a digest: sha256:, sha384: or sha512: and lower case hex.')
    return text


def new_hash(digest: str) -> Hash:
    """Return a new hash object of the algorithm of `digest`."""
    return hashlib.new(check_digest(digest).partition(":")[0])


def chain_id(diff_ids: tuple[str, ...]) -> str:
    """Return the ChainID of the OCI image spec: one digest for a stack of layers, bottom first."""
    if not diff_ids:
        return ""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = sha256(f"{chain} {diff_id}".encode())
    return chain
