"""How to reach the registry of a reference: its host, its mirrors, plain HTTP or TLS, and the CAs to trust."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...errors import UsageError
from ...net.transport import is_loopback
from ...portable import user_path
from ...untrusted.foreign import split_url
from ..reference import DEFAULT_DOMAIN, DEFAULT_HOST

if TYPE_CHECKING:
    import ssl

_CERTS = ("/etc/docker/certs.d", "~/.docker/certs.d", "~/.config/containers/certs.d", "/etc/containers/certs.d")
MIRRORS_VARIABLE = "PYBUILD_REGISTRY_MIRRORS"
INSECURE_VARIABLE = "PYBUILD_INSECURE_REGISTRIES"
CERTS_VARIABLE = "PYBUILD_REGISTRY_CERTS"


class RegistrySettings(msgspec.Struct, frozen=True):
    """The user's settings of registries. All keys are domains as in references (`docker.io`)."""

    mirrors: Mapping[str, tuple[str, ...]] = {}
    """URLs to pull from before the registry itself, in order. Nothing is pushed to them."""
    insecure: frozenset[str] = frozenset()
    """Registries whose certificate is not checked, and which are reached over plain HTTP when they do not speak TLS."""
    certs: tuple[Path, ...] = tuple(Path(directory) for directory in _CERTS)
    """Directories laid out as Docker's certs.d: `HOST[:PORT]/*.crt` are CAs, `*.cert` with `*.key` is ours."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> RegistrySettings:
        """Return the settings in environment variables.

        PYBUILD_REGISTRY_MIRRORS: `docker.io=https://mirror.example,ghcr.io=https://other.example/ghcr`, with a domain
        repeated for each of its mirrors. PYBUILD_INSECURE_REGISTRIES: domains, separated by commas.
        PYBUILD_REGISTRY_CERTS: directories to use before the usual ones, separated by colons. Raises UsageError.
        """
        variables = os.environ if environment is None else environment
        mirrors: dict[str, tuple[str, ...]] = {}
        for item in _words(variables.get(MIRRORS_VARIABLE, "")):
            domain, equals, url = item.partition("=")
            if not equals or not split_url(url if "://" in url else f"https://{url}").hostname:
                raise UsageError(
                    f"{MIRRORS_VARIABLE} has an invalid item, {item!r}.",
                    hint="Write items as DOMAIN=URL, separated by commas.",
                )
            mirrors[domain] = (*mirrors.get(domain, ()), url)
        certs = tuple(Path(item) for item in variables.get(CERTS_VARIABLE, "").split(os.pathsep) if item)
        insecure = frozenset(_words(variables.get(INSECURE_VARIABLE, "")))
        return cls(mirrors, insecure, certs + tuple(Path(directory) for directory in _CERTS))


class Endpoint(msgspec.Struct, frozen=True):
    """One base URL under which a registry's repositories are found."""

    base: str
    """`https://host[:port][/prefix]/v2/`."""
    credentials_host: str
    """The key of credentials: the reference's domain, or the mirror's own host."""
    namespace: str = ""
    """For a mirror: the domain that it mirrors, which requests name as `?ns=` (containerd's convention)."""
    alternative: str = ""
    """The same URL with plain HTTP, for an insecure registry that turns out not to speak TLS."""

    @property
    def host(self) -> str:
        """`host[:port]`, for messages."""
        return split_url(self.base).netloc.rpartition("@")[2]


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _endpoint(url: str, credentials_host: str, insecure: bool, namespace: str = "") -> Endpoint:
    """Return the endpoint of a URL, or of a bare host, where this machine means plain HTTP, by Docker's convention."""
    if "://" not in url:
        scheme = "http" if is_loopback(_hostname(url)) else "https"
        url = f"{scheme}://{url}"
    base = url.rstrip("/")
    base = base if base.endswith("/v2") else f"{base}/v2"
    plain = "http" + base.removeprefix("https") if insecure and base.startswith("https:") else ""
    return Endpoint(f"{base}/", credentials_host, namespace, f"{plain}/" if plain else "")


def _hostname(domain: str) -> str:
    return split_url(f"//{domain}").hostname or ""


def origin_of(domain: str, settings: RegistrySettings) -> Endpoint:
    """Return the endpoint of the registry itself, not of a mirror: where to push."""
    return _endpoint(DEFAULT_HOST if domain == DEFAULT_DOMAIN else domain, domain, domain in settings.insecure)


def endpoints_of(domain: str, settings: RegistrySettings) -> tuple[Endpoint, ...]:
    """Return the endpoints to pull from, in order: the mirrors, then the registry itself."""
    mirrors: list[Endpoint] = []
    for url in settings.mirrors.get(domain, ()):
        host = split_url(url if "://" in url else f"//{url}").netloc
        mirrors.append(_endpoint(url, host, host in settings.insecure, domain))
    return (*mirrors, origin_of(domain, settings))


class Certificates:
    """TLS contexts by host: the system's CAs, and those that certs.d directories add."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext | None] = {}

    def context(self, host: str) -> ssl.SSLContext | None:
        """Return the context for `host[:port]`; None when the system's default is right. Raises UsageError."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._make(host)
            return self._contexts[host]

    def _make(self, host: str) -> ssl.SSLContext | None:
        import ssl

        if host in self._settings.insecure:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        files = [
            file
            for directory in self._settings.certs
            for file in (() if host.startswith(".") else _files(user_path(directory) / host))
            if file.suffix in (".crt", ".cert")
        ]
        if not files:
            return None
        context = ssl.create_default_context()
        for file in files:
            try:
                if file.suffix == ".crt":
                    context.load_verify_locations(file)
                else:
                    context.load_cert_chain(file, file.with_suffix(".key"))
            except (OSError, ssl.SSLError) as error:
                raise UsageError(f"The certificate {file} for {host} cannot be loaded: {error}.") from error
        return context


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
