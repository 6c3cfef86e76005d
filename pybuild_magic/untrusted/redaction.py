"""Removal of the credentials in URLs from all that is shown or kept: messages, names, requests, records, commands.

A user name counts as one, because several hosts take tokens as `https://TOKEN@host/`. The text before the `@` becomes
`xxxxx`, or `xxxxx:xxxxx` if there was a password, as in BuildKit's `urlutil.RedactCredentials`. BuildKit leaves them in
the names of steps and in the history of images; here those are redacted too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

_URL = re.compile(r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#]*)@")
_PROXY = re.compile(r"(?i)(\b(?:https?|ftp|all)_proxy\b[\"']?\s*[=:]\s*[\"']?)(?!\w+://)([^\s/?#]{0,512})@")
_REFERENCES = ("docker-image://", "oci-layout://", "docker-daemon://")
"""Schemes in which the `@` comes before a digest."""
_PLAIN = frozenset({"git", "xxxxx", "xxxxx:xxxxx", ":xxxxx"})
"""Text before an `@` that is not secret: the user of every Git host, and what was redacted already."""


def redact(text: str) -> str:
    """Return `text` without the credentials of the URLs in it."""
    if "@" not in text:
        return text
    if "://" in text:
        text = _URL.sub(_replacement, text)
    return _PROXY.sub(_replacement, text) if "_proxy" in text.lower() else text


def redact_url(url: str) -> str:
    """Return a URL without its credentials, even if it has no scheme."""
    if "://" in url:
        return redact(url)
    head = re.match(r"[^\s/?#]*@", url)
    return (_words(head[0][:-1]) + url[head.end() - 1 :]) if head else url


def redact_data(value: Any, key: str = "") -> Any:
    """Return JSON-like data with its text redacted. Keys tell which texts are URLs without a scheme."""
    if isinstance(value, str):
        name = key.lower()
        bare = name == "context" or name.startswith("context:") or name.endswith("_proxy")
        return redact_url(value) if bare else redact(value)
    if isinstance(value, Mapping):
        members = cast("Mapping[Any, Any]", value)
        return {name: redact_data(member, name if isinstance(name, str) else "") for name, member in members.items()}
    if isinstance(value, list | tuple):
        return [redact_data(member) for member in cast("list[Any]", value)]
    return value


def split_credentials(url: str) -> tuple[str, str]:
    """Return (an http or https URL without its user information, that information as written: `user:password`)."""
    match = re.match(r"(?i)(https?://)([^/?#]*)@", url)
    return (match[1] + url[match.end() :], match[2]) if match else (url, "")


def _replacement(match: re.Match[str]) -> str:
    if match[1].lower() in _REFERENCES:
        return match[0]
    return f"{match[1]}{_words(match[2])}@"


def _words(user: str) -> str:
    if user in _PLAIN:
        return user
    name, colon, password = user.partition(":")
    return ("xxxxx" if name else "") + (":xxxxx" if colon and password else colon)
