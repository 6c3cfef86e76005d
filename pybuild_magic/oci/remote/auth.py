"""How a client identifies itself to a registry: challenges, Basic and Bearer authorization, tokens and their cache.

Source: RFC 9110 section 11 (challenges), and distribution's token authentication specification and its OAuth2 form.
Nothing here is ever logged, and `repr` shows no secret.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from urllib.parse import urlencode, urlunsplit

import msgspec

from ...cancel import Cancel
from ...net.transport import Transport, is_loopback, origin
from ...untrusted.foreign import split_url
from .credentials import Credentials, CredentialSource

_MAX_TOKEN = 1 << 20
"""Bytes of a token server's answer; more is refused."""
_DEFAULT_LIFETIME = 60
"""Seconds that a token lives when its server does not say (the token specification)."""
_LONGEST_LIFETIME = 86_400
_CLIENT_ID = "pybuild_magic"
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z0-9_-]+)(?:\s+(?=[A-Za-z0-9_-]+\s*=)|\s*(?=,|$))")


class Challenge(msgspec.Struct, frozen=True):
    """One way to authenticate that a `WWW-Authenticate` header offers. `scheme` is in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Return the challenges of a `WWW-Authenticate` header, in order; unreadable ones are left out."""
    challenges: list[Challenge] = []
    position = 0
    while position < len(header) and (scheme := _SCHEME.match(header, position)):
        position = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            position = parameter.end()
            quoted = parameter[2]
            value = parameter[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(parameter[1].lower(), value)
        challenges.append(Challenge(scheme[1].lower(), parameters))
    return challenges


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: int | None = None


class AuthError(Exception):
    """No authorization could be obtained; the message is a whole sentence."""


class Authorizer:
    """Authorization headers for one registry's endpoints, made when asked for and kept until they expire."""

    def __init__(self, transport: Transport, source: CredentialSource | None) -> None:
        self._transport = transport
        self._source = source
        self._lock = threading.Lock()
        self._locks: dict[tuple[object, ...], threading.Lock] = {}
        self._headers: dict[tuple[object, ...], tuple[str, float]] = {}

    def header(self, url: str, scopes: tuple[str, ...]) -> str:
        """Return the known header for `scopes` at the origin of `url`; "" when there is none, or it has expired."""
        value, until = self._headers.get((origin(url), scopes), ("", 0.0))
        return value if time.monotonic() < until else ""

    def answer(self, url: str, host: str, scopes: tuple[str, ...], refused: str, challenge: str, cancel: Cancel) -> str:
        """Return a header that answers `challenge` (a `WWW-Authenticate` value) in place of `refused`, or "".

        Credentials are looked up by `host`. Threads that are challenged at the same time share one token. Raises
        AuthError, TransportError and Interrupted.
        """
        key = (origin(url), scopes)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if (known := self.header(url, scopes)) and known != refused:
                return known
            for offer in parse_challenges(challenge):
                header = self._make(url, host, scopes, offer, cancel)
                if header and header[0] != refused:
                    self._headers[key] = header[0], time.monotonic() + header[1]
                    return header[0]
        return ""

    def describe(self, host: str) -> str:
        """Return where credentials for `host` were looked for, as the end of a sentence."""
        return self._source.looked(host) if self._source else "no credentials are configured"

    def _make(
        self, url: str, host: str, scopes: tuple[str, ...], offer: Challenge, cancel: Cancel
    ) -> tuple[str, float] | None:
        """Return (header, seconds for which it is valid); None when there are no credentials for the offer."""
        known = self._source.credentials(host) if self._source else None
        if offer.scheme == "basic" and known and known.username:
            return basic(known.username, known.password), float("inf")
        if offer.scheme != "bearer":
            return None
        if known and known.registry_token:
            return f"Bearer {known.registry_token}", float("inf")
        return self.token(url, scopes, offer.parameters, known, cancel)

    def token(
        self, url: str, scopes: tuple[str, ...], offer: dict[str, str], known: Credentials | None, cancel: Cancel
    ) -> tuple[str, float]:
        """Return (header, seconds for which it is valid) from the token server that `offer` names as `realm`.

        `url` is that of the registry. Raises AuthError, TransportError and Interrupted.
        """
        realm = offer.get("realm", "")
        parts = split_url(realm)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AuthError(f"The registry names {realm[:200]!r} as its token server, which is not a URL.")
        if parts.scheme == "http" and split_url(url).scheme == "https" and not is_loopback(parts.hostname):
            raise AuthError(f"The registry names a token server on plain HTTP, {parts.netloc}: refused.")
        service = {"service": offer["service"]} if offer.get("service") else {}
        requested = scopes or ((offer["scope"],) if offer.get("scope") else ())
        headers: dict[str, str] = {}
        if known and known.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": known.identity_token,
                "client_id": _CLIENT_ID,
                "scope": " ".join(requested),
                **service,
            }
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            method, target, body = "POST", realm, urlencode(form).encode()
        else:
            query = urlencode([*service.items(), *(("scope", scope) for scope in requested)])
            if known and known.username:
                headers["Authorization"] = basic(known.username, known.password)
                query = urlencode({"account": known.username}) + "&" + query
            joined = "&".join(filter(None, (parts.query, query)))
            target = urlunsplit((parts.scheme, parts.netloc, parts.path, joined, ""))
            method, body = "GET", None
        return self._ask(method, target, headers, body, cancel)

    def _ask(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, cancel: Cancel
    ) -> tuple[str, float]:
        where = split_url(url).netloc.rpartition("@")[2]
        # A POST carries the refresh token in its body, which must not follow a redirect.
        with self._transport.request(
            method, url, cancel, headers=headers, body=body, follow=method == "GET"
        ) as response:
            if response.status in (400, 401, 403):
                raise AuthError(f"The token server {where} refused the credentials (HTTP {response.status}).")
            if response.status != 200:
                raise AuthError(f"The token server {where} answered HTTP {response.status}.")
            data = response.read_all(_MAX_TOKEN)
        if data is None:
            raise AuthError(f"The token server {where} answered with more than {_MAX_TOKEN} bytes.")
        try:
            answer = msgspec.json.decode(data, type=_Token)
        except msgspec.MsgspecError as error:
            raise AuthError(f"The token server {where} did not answer with a token.") from error
        token = answer.token or answer.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise AuthError(f"The token server {where} did not answer with a token.")
        lifetime = min(max(answer.expires_in or 0, _DEFAULT_LIFETIME), _LONGEST_LIFETIME)
        # The next token is requested a little early, so that none expires on its way.
        return f"Bearer {token}", lifetime * 0.9


def basic(username: str, password: str) -> str:
    """Return the value of an `Authorization: Basic` header."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
