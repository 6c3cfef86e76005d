"""HTTP as registries and ADD need it: pooled, streaming, retried, redirected safely, and stopped at once.

It is built on urllib3 rather than httpx: over loopback, in blocks of 1 MiB, urllib3 read 1 GiB in 0.31 s (0.2 s of CPU)
and httpx in 1.9 s (1.9 s of CPU), and importing urllib3 takes half as long.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlunsplit

from ..cancel import Cancel
from ..untrusted.foreign import header_number, http_date, join_url, port_of, split_url
from ..untrusted.redaction import redact_url, split_credentials
from .call import Call, current
from .pace import ALARM, Meter, Pace

if TYPE_CHECKING:
    import ssl

    from urllib3 import PoolManager
    from urllib3.response import BaseHTTPResponse

Body = bytes | Callable[[], Iterable[bytes]]
"""The body of a request: bytes, or a function that starts the stream again for a retry or a redirect."""

_ATTEMPTS = 5
_ATTEMPTS_UNREACHABLE = 2
"""Fewer, because a name that does not resolve or a port on which nobody listens seldom changes within seconds."""
_BACKOFF = 0.25
_MAX_DELAY = 60.0
_MAX_REDIRECTS = 10
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_SOCKET_BLOCK = 1 << 18
_DRAIN = 1 << 16
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


class TransportError(Exception):
    """A request that got no answer. `reason` ends a sentence; `kind` tells callers what to do.

    Kinds: `unreachable` (no such host, nobody listens), `timeout`, `tls`, `cut` (the connection broke) and `redirect`.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class Response:
    """An answer whose body is read as it arrives. Close it, or use it as a context manager."""

    def __init__(
        self, raw: BaseHTTPResponse, url: str, cancel: Cancel, stack: ExitStack, call: Call, pace: Pace
    ) -> None:
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url = url
        """The URL that the answer came from, after redirects."""
        self._raw = raw
        self._cancel = cancel
        self._stack = stack
        self._call = call
        self._pace = pace
        self._meter = Meter(pace)

    def read(self, amount: int, *, decode: bool = False) -> bytes:
        """Return up to `amount` bytes of the body; b"" at its end. `decode` undoes a Content-Encoding.

        Raises TransportError when the connection breaks first, Interrupted when the build is stopped.
        """
        self._cancel.check()
        start = time.monotonic()
        try:
            # Read what has arrived, not a whole block: otherwise a trickle goes unnoticed until it has filled one.
            with ALARM.within(2 * self._pace.window, self._call.abort):
                data = self._raw.read1(amount, decode_content=decode)
        except _failures() as error:
            self._cancel.check()
            if self._call.aborted:
                raise TransportError("timeout", f"{_host(self.url)} did not answer in time") from error
            raise _translate(error, self.url) from error
        if self._call.aborted:
            # A body without a length looks complete however its connection ended.
            self._cancel.check()
            raise TransportError("timeout", f"{_host(self.url)} did not answer in time")
        if reason := self._meter.add(len(data), time.monotonic() - start):
            raise TransportError("timeout", f"{_host(self.url)} {reason}")
        return data

    def read_all(self, limit: int) -> bytes | None:
        """Return the whole body, or None when it is longer than `limit` bytes."""
        if (header_number(self.headers.get("Content-Length")) or 0) > limit:
            return None
        parts: list[bytes] = []
        total = 0
        while part := self.read(limit + 1 - total):
            total += len(part)
            if total > limit:
                return None
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Return the connection to the pool if the body was read to its end; otherwise close it."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """A thread-safe pool of connections to any number of hosts."""

    def __init__(
        self,
        *,
        tls: Callable[[str], ssl.SSLContext | None] | None = None,
        connect_timeout: float = 15,
        read_timeout: float = 60,
        pace: Pace | None = None,
    ) -> None:
        """Create a pool. `tls` returns the context for `host[:port]`, or None for the system's; timeouts are in
        seconds.

        Without `pace`, that of the environment applies.
        """
        self._tls = tls
        self.pace = Pace.from_environment() if pace is None else pace
        self._timeouts = (connect_timeout, read_timeout)
        self._managers: dict[tuple[str, str, bool], PoolManager] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        cancel: Cancel,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        length: int | None = None,
        retry: bool = True,
        follow: bool = True,
    ) -> Response:
        """Send a request, repeat it when that can help, and return the answer, whatever its status.

        `length` is the size of a streamed body, in bytes. With `retry`, the request is repeated after a broken
        connection and after the statuses 408, 425, 429 and 5xx, not before Retry-After says; the last answer is
        returned. Credentials in `url` are sent as Basic authorization. They are not sent to another origin after a
        redirect, and neither are those in `headers`; redirects from https to http are refused. Raises TransportError
        and Interrupted.
        """
        sent = {"User-Agent": _user_agent(), "Accept-Encoding": "identity", **(headers or {})}
        url, userinfo = split_credentials(url)
        if userinfo and not any(name.lower() == "authorization" for name in sent):
            sent["Authorization"] = basic_of(userinfo)
        for _ in range(_MAX_REDIRECTS):
            response = self._attempts(method, url, cancel, sent, body, length, retry)
            target = response.headers.get("Location") if response.status in _REDIRECTS and follow else None
            if not target:
                return response
            response.close()
            target, _ = split_credentials(join_url(url, target))
            _check_redirect(url, target)
            if origin(target) != origin(url):
                sent = {name: value for name, value in sent.items() if name.lower() not in _SECRET_HEADERS}
            if response.status == 303 and method != "HEAD":
                method, body, length = "GET", None, None
            url = target
        raise TransportError("redirect", f"there were more than {_MAX_REDIRECTS} redirects")

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            managers, self._managers = list(self._managers.values()), {}
        for manager in managers:
            manager.clear()

    def _attempts(
        self,
        method: str,
        url: str,
        cancel: Cancel,
        headers: Mapping[str, str],
        body: Body | None,
        length: int | None,
        retry: bool,
    ) -> Response:
        attempt = 0
        while True:
            attempt += 1
            cancel.check()
            try:
                response = self._once(method, url, cancel, headers, body, length)
            except TransportError as error:
                allowed = _ATTEMPTS_UNREACHABLE if error.kind == "unreachable" else _ATTEMPTS
                if not retry or error.kind in ("tls", "redirect") or attempt >= allowed:
                    raise
                wait = backoff(attempt)
            else:
                if not retry or response.status not in _TRANSIENT or attempt >= _ATTEMPTS:
                    return response
                wait = _retry_after(response.headers.get("Retry-After")) or backoff(attempt)
                if wait > _MAX_DELAY:
                    return response
                response.close()
            cancel.wait(wait)

    def _once(
        self,
        method: str,
        url: str,
        cancel: Cancel,
        headers: Mapping[str, str],
        body: Body | None,
        length: int | None,
    ) -> Response:
        from urllib3 import Retry

        manager = self._manager(url)
        sent = dict(headers)
        if length is not None:
            sent["Content-Length"] = str(length)
        with ExitStack() as stack:
            call = Call()
            stack.callback(call.close)
            stack.enter_context(cancel.on_cancel(call.abort))
            current.call = call
            patience = 2 * self.pace.window
            try:
                with ALARM.within(patience, call.abort) as again:
                    raw = manager.urlopen(
                        method,
                        url,
                        body=self._paced(body(), again) if callable(body) else body,
                        headers=sent,
                        redirect=False,
                        retries=Retry(False),
                        preload_content=False,
                        decode_content=False,
                    )
            except _failures() as error:
                cancel.check()
                if call.aborted:
                    raise TransportError("timeout", f"{_host(url)} did not answer in time") from error
                raise _translate(error, url) from error
            except ValueError as error:
                # A secret with a line break in it, or an impossible redirect. Its text is not shown: it may be secret.
                raise TransportError("redirect", "the request cannot be written as HTTP") from error
            finally:
                current.call = None
            stack.callback(_release, raw)
            if call.aborted:
                cancel.check()
                raise TransportError("timeout", f"{_host(url)} did not answer in time")
            return Response(raw, url, cancel, stack.pop_all(), call, self.pace)
        raise AssertionError  # the type of ExitStack lets it swallow exceptions; this one does not

    def _paced(self, body: Iterable[bytes], again: Callable[[float], None]) -> Iterable[bytes]:
        """Yield the blocks of `body`; the server has to accept each as fast as it would have to send it."""
        for block in body:
            again(2 * self.pace.window + self.pace.seconds_for(len(block)))
            yield block
        again(2 * self.pace.window)

    def _manager(self, url: str) -> PoolManager:
        """Return the pool for the proxy and the TLS context that `url` needs."""
        parts = split_url(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TransportError("redirect", f"{redacted(url)} is not an http or https URL")
        context = self._tls(parts.netloc.rpartition("@")[2]) if self._tls and parts.scheme == "https" else None
        proxy = _proxy_for(parts.scheme, parts.hostname, parts.netloc.rpartition("@")[2])
        # Reading the system's CAs takes as long as a small request, so it is done only for TLS.
        tls = parts.scheme == "https" or proxy.startswith("https")
        key = (proxy, parts.netloc if context else "", tls)
        with self._lock:
            if key not in self._managers:
                context = context or (_system_tls() if tls else None)
                self._managers[key] = _new_manager(proxy, context, self._timeouts)
            return self._managers[key]


@cache
def _system_tls() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()


def _new_manager(proxy: str, context: ssl.SSLContext | None, timeouts: tuple[float, float]) -> PoolManager:
    import urllib3

    from .connections import POOLS

    options: dict[str, Any] = {
        "num_pools": 32,
        "maxsize": 16,
        "timeout": urllib3.Timeout(connect=timeouts[0], read=timeouts[1]),
        "blocksize": _SOCKET_BLOCK,
        "ssl_context": context,
    }
    if proxy:
        user = split_url(proxy)
        if user.username:
            from urllib.parse import unquote

            pair = f"{unquote(user.username)}:{unquote(user.password or '')}"
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=pair)
        manager: PoolManager = urllib3.ProxyManager(proxy, **options)
    else:
        manager = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = POOLS
    return manager


def _proxy_for(scheme: str, hostname: str, netloc: str) -> str:
    """Return the proxy that the environment names for a host, or ""; this machine itself never has one, as in Go."""
    if is_loopback(hostname):
        return ""
    from urllib.request import getproxies_environment, proxy_bypass

    proxies = getproxies_environment()
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(netloc):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def basic_of(userinfo: str) -> str:
    """Return the Authorization header for `user:password` as it is written in URLs."""
    import base64
    from urllib.parse import unquote

    user, _, password = userinfo.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def is_loopback(hostname: str) -> bool:
    """Return whether a host, given without a port, is by its name this machine."""
    return _LOOPBACK.fullmatch(hostname.strip("[]").lower()) is not None


def origin(url: str) -> tuple[str, str, int]:
    """Return (scheme, host, port) of a URL. URLs of the same origin may be sent the same credentials."""
    parts = split_url(url)
    port = port_of(parts) or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def redacted(url: str) -> str:
    """Return `url` without its credentials, and without its query, in which signed URLs carry secrets."""
    try:
        parts = split_url(url)
        return redact_url(urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")))
    except ValueError:
        return redact_url(url.partition("?")[0])


def backoff(attempt: int) -> float:
    """Return the seconds to wait after the `attempt`-th failure (1 is the first): doubling, with jitter."""
    return min(10.0, _BACKOFF * 2 ** (attempt - 1)) * (0.75 + random.random() / 2)  # noqa: S311


def _retry_after(value: str | None) -> float | None:
    """Return the seconds for which a server asks to be left alone; None when it does not, or not in a valid way."""
    if (seconds := header_number(value)) is not None:
        return float(seconds)
    moment = http_date(value)
    return None if moment is None else max(0.0, moment - time.time())


def _check_redirect(url: str, target: str) -> None:
    if split_url(target).scheme not in ("http", "https"):
        raise TransportError("redirect", f"it redirects to {redacted(target)}, which is not http or https")
    if split_url(url).scheme == "https" and split_url(target).scheme == "http":
        raise TransportError("redirect", f"it redirects from https to plain {redacted(target)}")


def _release(raw: BaseHTTPResponse) -> None:
    # A connection with unread bytes cannot be used again; reading a few costs less than a new connection.
    if raw.length_remaining is not None and raw.length_remaining <= _DRAIN:
        raw.drain_conn()
    raw.close()


@cache
def _user_agent() -> str:
    from importlib.metadata import version

    return f"pybuild_magic/{version('pybuild_magic')}"


def _failures() -> tuple[type[Exception], ...]:
    """Return the types of urllib3's errors. An error that the body raises is not among them, and passes through."""
    from http.client import HTTPException

    from urllib3.exceptions import HTTPError

    return HTTPError, HTTPException, OSError


def _host(url: str) -> str:
    return split_url(url).netloc.rpartition("@")[2]


def _translate(error: Exception, url: str) -> TransportError:
    """Return an error of urllib3, ssl or socket as a TransportError that names the host."""
    import ssl

    import urllib3.exceptions as u

    host = _host(url)
    cause: BaseException = error
    while isinstance(cause, u.MaxRetryError | u.ProxyError) and cause.args:
        nested = cause.reason if isinstance(cause, u.MaxRetryError) else cause.original_error
        if nested is None:
            break
        cause = nested
    if isinstance(cause, u.NameResolutionError):
        return TransportError("unreachable", f'there is no host "{host}"')
    if isinstance(cause, u.NewConnectionError):
        return TransportError("unreachable", f"{host} cannot be connected to ({_os_reason(cause)})")
    if isinstance(cause, u.TimeoutError | TimeoutError):
        return TransportError("timeout", f"{host} did not answer in time")
    if isinstance(cause, u.SSLError | ssl.SSLError):
        return TransportError("tls", f"the TLS connection to {host} failed ({_os_reason(cause)})")
    return TransportError("cut", f"the connection to {host} broke ({_os_reason(cause)})")


def _os_reason(error: BaseException) -> str:
    """Return the words of the operating system or of OpenSSL, without Python's object names."""
    import ssl

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"certificate: {seen.verify_message}"
        if isinstance(seen, OSError) and seen.strerror:
            return re.sub(r"^\[.*?\] | \(_ssl\.c:\d+\)$", "", seen.strerror)
        seen = seen.__cause__ or seen.__context__
    return re.sub(r"<[^>]*>:? ?|\(_ssl\.c:\d+\)", "", str(error)).strip()[:200] or type(error).__name__
