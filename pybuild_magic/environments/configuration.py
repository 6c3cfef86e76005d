"""The configured package indexes: from pip's files and variables, or uv's, with credentials kept separately."""

from __future__ import annotations

import configparser
import netrc
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from ..portable import user_path
from ..untrusted.redaction import split_credentials

PYPI = "https://pypi.org/simple"
_KEYS = ("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "no-index")
_SYSTEM_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


class Index(msgspec.Struct, frozen=True):
    """A package index: its URL without credentials, and `user:password`."""

    url: str
    userinfo: str = ""


class Secret(msgspec.Struct, frozen=True):
    """A secret for the build that never ends up in the image: a file, or the value of a variable."""

    id: str
    variable: str = ""
    """The variable that holds it, here and in the build."""
    path: str = ""
    """Its file on this machine."""
    target: str = ""
    """Its file in the build."""

    @property
    def flag(self) -> str:
        """The value for `--secret`."""
        return f"id={self.id}," + (f"env={self.variable}" if self.variable else f"src={self.path}")

    @property
    def mount(self) -> str:
        """The value for `RUN --mount`."""
        place = f"env={self.variable}" if self.variable else f"target={self.target}"
        return f"type=secret,id={self.id},required=true,{place}"


class Configuration(msgspec.Struct, frozen=True):
    """The sources of distributions."""

    indexes: tuple[Index, ...] = (Index(PYPI),)
    links: tuple[str, ...] = ()
    """Directories and pages of distributions (`--find-links`)."""
    trusted: tuple[str, ...] = ()
    cert: str = ""
    """A PEM file of authorities that replaces the system's."""
    variables: dict[str, str] = {}
    """Settings for an installer in an image that are not secret."""
    secrets: tuple[Secret, ...] = ()


class _Value(msgspec.Struct, frozen=True):
    """A setting, with the file or variable that it comes from."""

    text: str
    path: str = ""
    variable: str = ""


def configuration(*, uv: bool = False) -> Configuration:
    """Return the configuration of pip or of uv. An unreadable file is ignored, as by pip."""
    values = _uv_values() if uv else _pip_values()
    indexes: list[Index] = []
    variables: dict[str, str] = {}
    secrets: list[Secret] = []
    names = ("UV_DEFAULT_INDEX", "UV_INDEX") if uv else ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
    for key, name in zip(("index-url", "extra-index-url"), names, strict=True):
        value = values.get(key)
        if value is None:
            continue
        configured = [Index(*split_credentials(url)) for url in value.text.split()]
        indexes += configured
        remote = [index for index in configured if index.url.startswith("http")]
        if any(index.userinfo for index in remote):
            secrets.append(_secret_of(value, name, uv=uv))
        elif remote and remote != [Index(PYPI)]:
            variables[name] = " ".join(index.url for index in remote)
    if not uv and "index-url" not in values and "no-index" not in values:
        indexes.insert(0, Index(PYPI))
    if uv and not any(key == "index-url" for key in values):
        indexes.insert(0, Index(PYPI))
    trusted = tuple(values["trusted-host"].text.split()) if "trusted-host" in values else ()
    if trusted:
        variables["UV_INSECURE_HOST" if uv else "PIP_TRUSTED_HOST"] = " ".join(trusted)
    secrets += _netrc_secret(indexes)
    cert = values["cert"].text if "cert" in values else ""
    if cert and Path(cert).is_file():
        target = "/run/secrets/index-cert"
        secrets.append(Secret("index-cert", path=cert, target=target))
        variables["SSL_CERT_FILE" if uv else "PIP_CERT"] = target
    return Configuration(
        tuple(dict.fromkeys(_with_netrc(index) for index in indexes)),
        tuple(values["find-links"].text.split()) if "find-links" in values else (),
        trusted,
        cert if cert and Path(cert).is_file() else "",
        variables,
        tuple(dict.fromkeys(secrets)),
    )


def _secret_of(value: _Value, name: str, *, uv: bool) -> Secret:
    """Return how the build receives a setting that contains a password, given its origin here."""
    if value.path and not uv:
        return Secret("pip-config", path=value.path, target="/etc/pip.conf")
    return Secret(name.lower().replace("_", "-"), variable=value.variable or name)


def _pip_values() -> dict[str, _Value]:
    """Return pip's settings in the order of `pip config`: later files override earlier ones, and variables override
    files.
    """
    values: dict[str, _Value] = {}
    for path in _pip_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, "utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install", "download"):
            if parser.has_section(section):
                for key, text in parser.items(section):
                    key = key.replace("_", "-")
                    if key in _KEYS:
                        values[key] = _Value(text.strip(), path=str(path))
    for key in _KEYS:
        name = f"PIP_{key.upper().replace('-', '_')}"
        if os.environ.get(name):
            values[key] = _Value(os.environ[name], variable=name)
    if "cert" not in values:
        values |= _bundle()
    return values


def _bundle() -> dict[str, _Value]:
    name = next((name for name in _SYSTEM_BUNDLES if os.environ.get(name)), "")
    return {"cert": _Value(os.environ[name], variable=name)} if name else {}


def _pip_files() -> Iterator[Path]:
    """Return the paths of pip's configuration, in the order of its documentation ("Configuration files")."""
    home = user_path("~")
    if os.environ.get("PIP_CONFIG_FILE") == os.devnull:
        return
    if sys.platform == "win32":
        yield Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "pip/pip.ini"
        yield home / "pip/pip.ini"
        yield Path(os.environ.get("APPDATA", str(home))) / "pip/pip.ini"
        yield Path(sys.prefix) / "pip.ini"
    else:
        for folder in reversed(os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
            yield Path(folder) / "pip/pip.conf"
        yield Path("/etc/pip.conf")
        yield home / ".pip/pip.conf"
        if sys.platform == "darwin":
            yield home / "Library/Application Support/pip/pip.conf"
        yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
        yield Path(sys.prefix) / "pip.conf"
    if os.environ.get("PIP_CONFIG_FILE"):
        yield Path(os.environ["PIP_CONFIG_FILE"])


def _uv_values() -> dict[str, _Value]:
    """Return uv's settings, under pip's names for them."""
    values: dict[str, _Value] = {}
    path = Path(os.environ.get("UV_CONFIG_FILE") or user_path("~/.config/uv/uv.toml"))
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        document = {}
    listed: list[Any] = document["index"] if isinstance(document.get("index"), list) else []
    entries = [cast("dict[str, Any]", entry) for entry in listed if isinstance(entry, dict) and "url" in entry]
    for key, default in (("index-url", True), ("extra-index-url", False)):
        urls = [str(entry["url"]) for entry in entries if (entry.get("default") is True) is default]
        if urls:
            values[key] = _Value(" ".join(urls), path=str(path))
    names = {
        "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
        "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
        "find-links": ("UV_FIND_LINKS",),
        "trusted-host": ("UV_INSECURE_HOST",),
    }
    for key, variables in names.items():
        for name in reversed(variables):
            if os.environ.get(name):
                # An index may have a name: `internal=https://...`.
                words = [
                    word.partition("=")[2] if "=" in word.partition("://")[0] else word
                    for word in os.environ[name].replace(",", " ").split()
                ]
                values[key] = _Value(" ".join(words), variable=name)
    return values | _bundle()


def _netrc_file() -> Path:
    return Path(os.environ.get("NETRC") or user_path("~/_netrc" if sys.platform == "win32" else "~/.netrc"))


def _login(host: str) -> str:
    """Return `user:password` of the netrc file for a host, or ""."""
    try:
        login = netrc.netrc(_netrc_file()).hosts.get(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return ""
    return f"{login[0]}:{login[2]}" if login else ""


def _with_netrc(index: Index) -> Index:
    return index if index.userinfo else Index(index.url, _login(urlsplit(index.url).hostname or ""))


def _netrc_secret(indexes: list[Index]) -> Iterator[Secret]:
    hosts = {urlsplit(index.url).hostname or "" for index in indexes if not index.userinfo}
    if any(_login(host) for host in hosts if host):
        yield Secret("netrc", path=str(_netrc_file()), target="/root/.netrc")
