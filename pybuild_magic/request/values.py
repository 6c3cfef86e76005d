"""The values that options take, such as caches, secrets and sizes: read from words, and written back."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from ..errors import UsageError, nearest
from ..portable import looks_like_path
from ..untrusted.foreign import LARGEST
from .flags import truth

if TYPE_CHECKING:
    from ..session import SecretSource, SSHSource

CALLS = ("build", "check", "outline", "targets")
"""The methods of `--call`."""

_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio"),
    *("rttime", "sigpending", "stack"),
)
_REMOTE = re.compile(r"^(https?://|git://|git@|ssh://|github\.com/)|\.git(#.*)?$")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)


class Ulimit(msgspec.Struct, frozen=True):
    """The value of `--ulimit`; -1 is unlimited."""

    name: str
    soft: int
    hard: int

    def __str__(self) -> str:
        return f"{self.name}={self.soft}:{self.hard}"


class CacheEntry(msgspec.Struct, frozen=True):
    """The value of `--cache-from` or `--cache-to`."""

    type: str
    attrs: dict[str, str] = {}

    def __str__(self) -> str:
        return csv_line({"type": self.type, **self.attrs})


class Call(msgspec.Struct, frozen=True):
    """The value of `--call`: a method in CALLS, and the format `json` for the answer as a document."""

    method: str = "build"
    format: str = ""
    ignore_status: bool = False
    """Whether warnings of a check leave a command's exit code at 0."""

    def __str__(self) -> str:
        form = f",format={self.format}" if self.format else ""
        return f"{self.method}{form}{',ignorestatus=true' if self.ignore_status else ''}"


def is_remote(context: str) -> bool:
    """Return whether a context is a Git or HTTP URL, which the builder fetches, rather than a local path."""
    return bool(_REMOTE.search(context)) and not looks_like_path(context)


def is_reference(context: str) -> bool:
    """Return whether a named context is resolved by the builder, rather than a local directory."""
    return is_remote(context) or context.startswith(("docker-image://", "oci-layout://", "target:"))


def split_csv(value: str, flag: str) -> list[str]:
    """Split a line of comma-separated fields, with the quoting of CSV. Raises UsageError that names `flag`."""
    try:
        rows = list(csv.reader([value], strict=True))
    except csv.Error as error:
        raise UsageError(f"{flag} {value!r} is not valid CSV: {error}.") from None
    return rows[0] if rows else []


def csv_line(pairs: Mapping[str, str]) -> str:
    """Return the pairs as a line that `split_csv` reads back, values with commas in quotes."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([f"{key}={value}" for key, value in pairs.items()])
    return out.getvalue()


def parse_fields(fields: Sequence[str], flag: str, known: Sequence[str] = ()) -> dict[str, str]:
    """Read `KEY=VALUE` fields. Raises UsageError for a field of another form, and for a key that is not `known`."""
    pairs: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals:
            raise UsageError(f"{flag} has {field!r}, which is not a key=value pair.")
        if known and key not in known:
            suggestion = nearest(key, known)
            raise UsageError(f"{flag} does not take {key!r}.", hint=f"Did you mean {suggestion}?" if suggestion else "")
        pairs[key] = value
    return pairs


def parse_pair(value: str, flag: str, *, bare: bool = False) -> tuple[str, str]:
    """Read `NAME=VALUE`, or a `bare` name with the value "". Raises UsageError."""
    name, equals, text = value.partition("=")
    if not name or not (equals or bare):
        raise UsageError(f"{flag} {value!r} is not NAME=VALUE.")
    return name, text


def parse_build_args(values: Sequence[str], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Read `NAME=VALUE`, or `NAME` for the environment's value (left out when it has none).

    SOURCE_DATE_EPOCH is taken from the environment even when no flag names it, as in buildx.
    """
    if epoch := environ.get("SOURCE_DATE_EPOCH"):
        yield "SOURCE_DATE_EPOCH", epoch
    for value in values:
        name, equals, text = value.partition("=")
        if not name:
            raise UsageError(f"--build-arg {value!r} has no name.", hint="Write --build-arg NAME=VALUE.")
        if equals:
            yield name, text
        elif name in environ:
            yield name, environ[name]


def parse_secret(value: str) -> SecretSource:
    """Read `id=ID,src=PATH`, `id=ID,env=VAR` or `id=ID` as buildx does. Raises UsageError."""
    from ..session import SecretSource

    pairs = parse_fields(split_csv(value, "--secret"), "--secret", ("id", "src", "source", "env", "type"))
    kind, path, env = pairs.get("type", ""), pairs.get("src", pairs.get("source", "")), pairs.get("env", "")
    if kind not in ("", "file", "env"):
        raise UsageError(f"--secret has no type {kind!r}; use file or env.")
    if kind == "env" and not env:
        path, env = "", path
    if not pairs.get("id"):
        raise UsageError(f"--secret {value!r} has no id.", hint="Write --secret id=ID,src=PATH.")
    return SecretSource(pairs["id"], path, env)


def secret_line(secret: SecretSource) -> str:
    """Return the secret as `--secret` takes it."""
    source = {"src": secret.path} if secret.path else {"env": secret.env} if secret.env else {}
    return csv_line({"id": secret.id, **source})


def parse_ssh(value: str) -> SSHSource:
    """Read `default`, `ID`, or `ID=SOCKET|KEY[,KEY]`."""
    from ..session import SSHSource

    name, equals, paths = value.partition("=")
    return SSHSource(name, tuple(paths.split(",")) if equals else ())


def ssh_line(source: SSHSource) -> str:
    """Return the agent or the keys as `--ssh` takes them."""
    return "=".join((source.id, ",".join(source.paths))) if source.paths else source.id


def parse_size(value: str, flag: str) -> int:
    """Read bytes in Docker's spelling: `64m`, `1.5g`, `1024`. Raises UsageError that names `flag`."""
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise UsageError(f"{flag} {value!r} is not a size.", hint="Write bytes, or a number with k, m or g.")
    size = float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " ")
    if size > LARGEST:
        raise UsageError(f"{flag} {value[:40]!r} is too large.")
    return int(size)


def parse_host(value: str) -> tuple[str, str]:
    """Read `HOST:IP` or `HOST=IP`, an IPv6 address in brackets or without. Raises UsageError."""
    name, equals, address = value.partition("=") if "=" in value else value.partition(":")
    if not (name and equals and address):
        raise UsageError(f"--add-host {value!r} is not HOST:IP.")
    return name, address.removeprefix("[").removesuffix("]")


def parse_ulimit(value: str) -> Ulimit:
    """Read `NAME=SOFT[:HARD]`. Raises UsageError."""
    name, equals, limits = value.partition("=")
    if name not in _ULIMITS:
        suggestion = nearest(name, _ULIMITS)
        raise UsageError(f"--ulimit does not know {name!r}.", hint=f"Did you mean {suggestion}?" if suggestion else "")
    soft, colon, hard = limits.partition(":")
    if " " in limits or "_" in limits:
        raise UsageError(f"--ulimit {value!r} is not NAME=SOFT[:HARD] in numbers.")
    try:
        ulimit = Ulimit(name, int(soft), int(hard) if colon else int(soft))
    except ValueError:
        raise UsageError(f"--ulimit {value!r} is not NAME=SOFT[:HARD] in numbers.") from None
    if not equals or (ulimit.hard != -1 and (ulimit.soft == -1 or ulimit.soft > ulimit.hard)):
        raise UsageError(f"--ulimit {value!r}: the soft limit must not be above the hard one.")
    return ulimit


def parse_cache(value: str, flag: str) -> CacheEntry:
    """Read `type=TYPE,KEY=VALUE…`, or the name of an image in a registry. Raises UsageError that names `flag`."""
    fields = split_csv(value, flag)
    if all("=" not in field for field in fields):
        return CacheEntry("registry", {"ref": value})
    pairs = parse_fields(fields, flag)
    kind = pairs.pop("type", "")
    if not kind:
        raise UsageError(f"{flag} {value!r} has no type.", hint="Write type=registry,ref=NAME, or type=local,….")
    return CacheEntry(kind, pairs)


def attestation(kind: str, value: str) -> str:
    """Return `--provenance` or `--sbom` as a value of `--attest`; it is true, false, or fields like `mode=max`."""
    if "=" in value:
        return f"type={kind},{value}"
    return f"type={kind},disabled={str(not truth(value, f'--{kind}')).lower()}"


def parse_call(value: str) -> Call:
    """Read `METHOD[,format=json][,ignorestatus=true]`. Raises UsageError."""
    words = [field for field in split_csv(value, "--call") if "=" not in field]
    rest = [field for field in split_csv(value, "--call") if "=" in field]
    pairs = parse_fields(rest, "--call", ("format", "ignorestatus"))
    ignored = truth(pairs.get("ignorestatus", "false"), "--call ignorestatus")
    form = pairs.get("format", "")
    if form not in ("", "json"):
        raise UsageError(f"--call has no format {form!r}; use json.")
    method = {"lint": "check"}.get(words[0], words[0]) if len(words) == 1 else ""
    if method not in CALLS:
        suggestion = nearest(method, CALLS)
        raise UsageError(
            f"--call {value!r} is not known; use one of {', '.join(CALLS)}.",
            hint=f"Did you mean {suggestion}?" if suggestion else "",
        )
    return Call(method, form, ignored)


def parse_variable(value: str) -> str:
    """Read the name of a Python variable. Raises UsageError."""
    if value and not value.isidentifier():
        raise UsageError(f"--into {value!r} is not the name of a variable.")
    return value
