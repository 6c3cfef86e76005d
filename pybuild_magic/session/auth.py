"""Credentials for registries as Docker keeps them: `config.json`, and the credential helpers that it names.

Source: docker/cli's `config/configfile` and `config/credentials`, docker-credential-helpers' protocol. All is read
anew each time, so that a `docker login` while the kernel runs counts. Nothing is logged, and no message has a
secret.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..oci.reference import DEFAULT_DOMAIN, DEFAULT_HOST
from ..oci.remote.credentials import Credentials

_HUB_KEY = "https://index.docker.io/v1/"
"""The key under which `docker login` without a host stores Docker Hub's credentials."""
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TOKEN_USER = "<token>"  # noqa: S105 - the user name that marks an identity token, not a secret
_TIMEOUT = 30
"""Seconds to wait for a helper, which may ask the user to unlock a keychain."""


class _AuthEntry(msgspec.Struct):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""

    def credentials(self) -> Credentials | None:
        """Return the entry's credentials; None for the empty entry that a credential store leaves behind."""
        username, password = self.username, self.password
        if self.auth:
            try:
                decoded = base64.b64decode(self.auth).decode()
            except ValueError:
                return None
            username, _, password = decoded.partition(":")
            password = password.rstrip("\0")
        if not any((username, self.identitytoken, self.registrytoken)):
            return None
        return Credentials(username, password, self.identitytoken, self.registrytoken)


class _Config(msgspec.Struct):
    auths: dict[str, _AuthEntry] = {}
    creds_store: str = msgspec.field(default="", name="credsStore")
    cred_helpers: dict[str, str] = msgspec.field(default_factory=dict[str, str], name="credHelpers")


class _Answer(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


class _HelperError(Exception):
    """A credential helper could not be asked; the message continues a sentence."""


class DockerAuth:
    """The user's own credentials, as `docker login` stored them."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` has DOCKER_CONFIG, DOCKER_AUTH_CONFIG, HOME and PATH; it defaults to that of this process."""
        self._environ = os.environ if environ is None else environ

    @property
    def path(self) -> Path:
        """The configuration file: `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`."""
        from ..docker.config import DockerConfig

        return DockerConfig(self._environ).path / "config.json"

    def hosts(self) -> tuple[str, ...]:
        """Return the domains that the file mentions, in the form in which references name them."""
        try:
            config = _decode(self.path.read_bytes())
        except OSError:
            config = None
        if config is None:
            return ()
        hub = {_bare(key) for key in _keys(DEFAULT_DOMAIN)}
        names = (_bare(key) for key in (*config.auths, *config.cred_helpers))
        return tuple(dict.fromkeys(DEFAULT_DOMAIN if name in hub else name for name in names))

    def credentials(self, host: str) -> Credentials | None:
        """Return the credentials for a registry's domain (`docker.io`, `localhost:5000`); None without a login."""
        return self._find(host)[0]

    def looked(self, host: str) -> str:
        """Return where credentials were looked for and whether they were found, as the end of a sentence."""
        credentials, where = self._find(host)
        account = (
            f' (user "{credentials.username}")'
            if credentials and credentials.username != _TOKEN_USER and credentials.username
            else ""
        )
        return f"{'credentials' + account + ' were found in' if credentials else 'no credentials are in'} {where}"

    def _find(self, host: str) -> tuple[Credentials | None, str]:
        """Return the credentials, if any, and the place that was searched."""
        if inline := self._environ.get("DOCKER_AUTH_CONFIG"):
            entry = _entry(_decode(inline.encode()), host)
            if entry:
                return entry, "DOCKER_AUTH_CONFIG"
        try:
            config = _decode(self.path.read_bytes())
        except OSError:
            return None, f"{self.path}, which is not there"
        if config is None:
            return None, f"{self.path}, which is not Docker's configuration"
        helper = next((config.cred_helpers[key] for key in _keys(host) if key in config.cred_helpers), "")
        helper = helper or config.creds_store
        if not helper:
            return _entry(config, host), str(self.path)
        where = f"the credential helper docker-credential-{helper} (of {self.path})"
        try:
            credentials = self._ask(helper, host)
        except _HelperError as error:
            return None, f"{where}, {error}"
        return credentials, where

    def _ask(self, helper: str, host: str) -> Credentials | None:
        if not _HELPER.fullmatch(helper):
            raise _HelperError("whose name is not valid")
        for server in _keys(host)[:2]:
            try:
                done = subprocess.run(
                    [f"docker-credential-{helper}", "get"],
                    input=server.encode(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=dict(self._environ),
                    timeout=_TIMEOUT,
                    check=False,
                )
            except FileNotFoundError:
                raise _HelperError("which is not installed") from None
            except OSError as error:
                raise _HelperError(f"which cannot be run ({error.strerror})") from None
            except subprocess.TimeoutExpired:
                raise _HelperError(f"which did not answer within {_TIMEOUT} seconds") from None
            if done.returncode == 0:
                return _answer(done.stdout)
            if b"credentials not found" not in done.stdout.lower():
                raise _HelperError(f"which failed with exit code {done.returncode}")
        return None


def _answer(output: bytes) -> Credentials | None:
    try:
        answer = msgspec.json.decode(output, type=_Answer)
    except msgspec.MsgspecError:
        raise _HelperError("whose answer cannot be read") from None
    if answer.username == _TOKEN_USER:
        return Credentials(identity_token=answer.secret)
    return Credentials(answer.username, answer.secret) if answer.username else None


def _decode(data: bytes) -> _Config | None:
    try:
        return msgspec.json.decode(data, type=_Config)
    except msgspec.MsgspecError:
        return None


def _keys(host: str) -> list[str]:
    """Return the keys under which Docker may have stored a domain's credentials, best first."""
    if host == DEFAULT_DOMAIN:
        return [_HUB_KEY, "docker.io", "index.docker.io", DEFAULT_HOST, "https://docker.io"]
    return [host, f"https://{host}", f"http://{host}"]


def _entry(config: _Config | None, host: str) -> Credentials | None:
    if config is None:
        return None
    for key in _keys(host):
        if (entry := config.auths.get(key)) and (credentials := entry.credentials()):
            return credentials
    # Keys such as that of `docker login https://host/v1/` are compared by their host alone.
    keys = {_bare(key) for key in _keys(host)}
    for key, entry in config.auths.items():
        if _bare(key) in keys and (credentials := entry.credentials()):
            return credentials
    return None


def _bare(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]
