"""Requests to one endpoint of a registry: authorization follows a challenge, and refusals are raised as `Fault`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from ...cancel import Cancel
from ...net.transport import Body, Response, Transport, TransportError, origin
from ...untrusted.foreign import join_url
from .auth import AuthError, Authorizer
from .credentials import CredentialSource
from .hosts import Certificates, Endpoint, RegistrySettings

_MAX_ERROR = 1 << 16
_MAX_SHOWN = 300

T = TypeVar("T")


class Fault(Exception):  # noqa: N818 - caught within the package only
    """A request that an endpoint did not fulfil. `status` is 0 when it did not answer at all.

    `kind` is that of a TransportError, or "auth", "status" or "content"; `reason` continues "… failed: ".
    """

    def __init__(self, endpoint: Endpoint, kind: str, reason: str, status: int = 0, code: str = "") -> None:
        super().__init__(reason)
        self.endpoint = endpoint
        self.kind = kind
        self.reason = reason
        self.status = status
        self.code = code


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Problems(msgspec.Struct):
    errors: list[_Problem] = []


class Exchange:
    """Requests to registries, authorized. Thread-safe; shared by pulling and pushing."""

    def __init__(self, credentials: CredentialSource | None, settings: RegistrySettings) -> None:
        self.settings = settings
        self.transport = Transport(tls=Certificates(settings).context)
        self.authorizer = Authorizer(self.transport, credentials)
        self._plain: set[str] = set()

    def send(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        scopes: tuple[str, ...],
        cancel: Cancel,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        length: int | None = None,
        retry: bool = True,
        expect: tuple[int, ...] = (200,),
    ) -> Response:
        """Send a request, and return the answer when its status is one of `expect`. Raises Fault and Interrupted.

        `path` is relative to the endpoint's `/v2/`, or an absolute URL at which a registry told us to continue. The
        registry's authorization is not sent to another origin.
        """
        base = endpoint.alternative if endpoint.base in self._plain else endpoint.base
        url = join_url(base, path)
        parameters = {**(query or {}), **({"ns": endpoint.namespace} if endpoint.namespace else {})}
        if parameters:
            url += ("&" if "?" in url else "?") + urlencode(parameters)
        same_origin = origin(url) == origin(base)
        sent = dict(headers or {})
        authorization = self.authorizer.header(base, scopes) if same_origin else ""
        answered = False
        while True:
            if authorization:
                sent["Authorization"] = authorization
            try:
                response = self.transport.request(
                    method, url, cancel, headers=sent, body=body, length=length, retry=retry
                )
            except TransportError as error:
                if self._falls_back(endpoint, base, error):
                    return self.send(
                        endpoint,
                        method,
                        path,
                        scopes,
                        cancel,
                        headers=headers,
                        query=query,
                        body=body,
                        length=length,
                        retry=retry,
                        expect=expect,
                    )
                raise Fault(endpoint, error.kind, error.reason) from error
            if response.status in expect:
                return response
            challenge = response.headers.get("WWW-Authenticate", "")
            # Only one challenge is answered: when a fresh token is refused, the next one would be too.
            if (
                response.status == 401
                and challenge
                and not answered
                and same_origin
                and origin(response.url) == origin(base)
            ):
                response.close()
                answer = self._answer(endpoint, base, scopes, authorization, challenge, cancel)
                if answer:
                    authorization, answered = answer, True
                    continue
            with response:
                raise _refusal(endpoint, response)

    def fetch(
        self, endpoint: Endpoint, url: str, cancel: Cancel, *, headers: Mapping[str, str], expect: tuple[int, ...]
    ) -> Response:
        """Return the answer of a URL outside of any registry; no credentials are sent to it.

        Raises Fault and Interrupted.
        """
        try:
            response = self.transport.request("GET", url, cancel, headers=headers)
        except TransportError as error:
            raise Fault(endpoint, error.kind, error.reason) from error
        if response.status in expect:
            return response
        with response:
            raise _refusal(endpoint, response)

    def _answer(
        self, endpoint: Endpoint, base: str, scopes: tuple[str, ...], refused: str, challenge: str, cancel: Cancel
    ) -> str:
        try:
            return self.authorizer.answer(base, endpoint.credentials_host, scopes, refused, challenge, cancel)
        except AuthError as error:
            raise Fault(endpoint, "auth", str(error).rstrip("."), 401) from error
        except TransportError as error:
            raise Fault(endpoint, error.kind, f"its token server did not answer: {error.reason}") from error

    def _falls_back(self, endpoint: Endpoint, base: str, error: TransportError) -> bool:
        """Return whether to use plain HTTP for an insecure registry from now on."""
        if not endpoint.alternative or base == endpoint.alternative or error.kind not in ("tls", "unreachable"):
            return False
        self._plain.add(endpoint.base)
        return True


def first(endpoints: tuple[Endpoint, ...], attempt: Callable[[Endpoint], T], *, after: Endpoint | None = None) -> T:
    """Return the result of `attempt` at the first endpoint where it succeeds; else raise the Fault of the last one.

    `after` is an endpoint to start with, such as the one that answered the previous request.
    """
    ordered = endpoints if after is None else (after, *(endpoint for endpoint in endpoints if endpoint != after))
    for endpoint in ordered[:-1]:
        try:
            return attempt(endpoint)
        except Fault:
            continue
    return attempt(ordered[-1])


def _refusal(endpoint: Endpoint, response: Response) -> Fault:
    """Return the Fault for an answer of an unexpected status, in the registry's own words if it has any."""
    code = message = ""
    try:
        problems = msgspec.json.decode(response.read_all(_MAX_ERROR) or b"", type=_Problems).errors
        if problems:
            code, message = shown(problems[0].code), shown(problems[0].message)
    except (msgspec.MsgspecError, TransportError):
        pass
    words = ": ".join(filter(None, (code, message)))
    reason = f"{endpoint.host} answered HTTP {response.status}" + (f" ({words})" if words else "")
    return Fault(endpoint, "status", reason, response.status, code)


def shown(text: str) -> str:
    """Return a registry's words in a form that is safe to show: one line, no control characters, not too long."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(line.split())[:_MAX_SHOWN]
