"""What a user asked for: the flags of `docker buildx build`, parsed into BuildOptions."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence

import msgspec

from ..errors import UsageError, nearest
from ..portable import kind_of, user_path
from ..session import SecretSource, SSHSource
from ..untrusted.foreign import LARGEST
from .flags import ParsedFlags, parse_flags, truth

EXPORTER_TYPES = ("image", "registry", "oci", "docker", "local", "tar", "cacheonly")
"""The exporters of Docker Build, as `--output type=` takes them."""


class Output(msgspec.Struct, frozen=True):
    """One `--output`: the exporter's type, its attributes as given, and `dest` ("" when none)."""

    type: str
    attrs: dict[str, str] = {}
    dest: str = ""

    def __str__(self) -> str:
        fields = {"type": self.type, **({"dest": self.dest} if self.dest else {}), **self.attrs}
        return csv_line(fields)


class Ulimit(msgspec.Struct, frozen=True):
    """One `--ulimit`; -1 is unlimited."""

    name: str
    soft: int
    hard: int

    def __str__(self) -> str:
        return f"{self.name}={self.soft}:{self.hard}"


class CacheEntry(msgspec.Struct, frozen=True):
    """One `--cache-from` or `--cache-to`."""

    type: str
    attrs: dict[str, str] = {}

    def __str__(self) -> str:
        return csv_line({"type": self.type, **self.attrs})


Context = str | Mapping[str, str | bytes] | None
"""A directory, `-` for none, a Git or HTTP URL, or files by path; None is the working directory."""


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a build can be asked for. Fields have the names of the flags."""

    dockerfile: str | None = None
    """The Dockerfile's text; None when `file` or the context has it."""
    file: str = ""
    context: Context = None
    tags: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    build_args: dict[str, str] = {}
    build_contexts: dict[str, str] = {}
    labels: dict[str, str] = {}
    target: str = ""
    platforms: tuple[str, ...] = ()
    pull: bool = False
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    ssh: tuple[SSHSource, ...] = ()
    network: str = "default"
    add_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    """Bytes; 0 is the default of 64 MiB."""
    ulimits: tuple[Ulimit, ...] = ()
    annotations: tuple[str, ...] = ()
    attests: tuple[str, ...] = ()
    cache_from: tuple[CacheEntry, ...] = ()
    cache_to: tuple[CacheEntry, ...] = ()
    allow: tuple[str, ...] = ()
    cgroup_parent: str = ""
    call: str = "build"
    """build, check, outline or targets."""
    call_format: str = ""
    """json: the answer to a call as the document that it is."""
    policies: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    metadata_file: str = ""
    iidfile: str = ""
    progress: str = "auto"
    quiet: bool = False
    builder: str = ""
    background: bool = False
    dry_run: bool = False
    into: str = ""


def parse_options(
    argv: Sequence[str],
    *,
    dockerfile: str | None = None,
    context: Context = None,
    environ: Mapping[str, str] | None = None,
) -> BuildOptions:
    """The words of a `%%build` line (or of `docker buildx build`) as BuildOptions.

    `context` is used when no argument names one. `--build-arg NAME` takes its value from `environ` (default:
    the process's). Raises `UsageError`, one line that names the nearest valid flag, type or value.
    """
    return options_from(parse_flags(argv), dockerfile=dockerfile, context=context, environ=environ)


def options_from(
    flags: ParsedFlags,
    *,
    dockerfile: str | None = None,
    context: Context = None,
    environ: Mapping[str, str] | None = None,
) -> BuildOptions:
    """As `parse_options`, for words that are sorted already."""
    environ = os.environ if environ is None else environ
    if len(flags.arguments) + isinstance(context, Mapping) > 1:
        extra = " ".join(flags.arguments[0 if isinstance(context, Mapping) else 1 :])
        raise UsageError(f"A build takes one context, and was given more: {extra}.", hint="Quote names with spaces.")
    file = flags.one("file") or ""
    if dockerfile is not None and file:
        raise UsageError(
            "The cell is the Dockerfile, so --file has no meaning here.",
            hint=f"Use %build -f {file} on a line.",
        )
    call, call_format = ("check", "") if flags.flag("check") else _call(flags.one("call") or "build")
    platforms = flags.many("platform")
    if not platforms and environ.get("DOCKER_DEFAULT_PLATFORM"):
        platforms = [environ["DOCKER_DEFAULT_PLATFORM"]]
    return BuildOptions(
        dockerfile=dockerfile,
        file=file,
        context=flags.arguments[0] if flags.arguments else context,
        tags=tuple(flags.many("tag")),
        outputs=parse_outputs(flags.many("output"), push=flags.flag("push"), load=flags.flag("load")),
        build_args=parse_build_args(flags.many("build-arg"), environ),
        build_contexts=_pairs(flags.many("build-context"), "--build-context"),
        labels=_pairs(flags.many("label"), "--label", bare=True),
        target=flags.one("target") or "",
        platforms=tuple(name for value in platforms for name in value.split(",") if name),
        pull=flags.flag("pull"),
        no_cache=flags.flag("no-cache"),
        no_cache_filter=tuple(name for value in flags.many("no-cache-filter") for name in value.split(",") if name),
        secrets=tuple(parse_secret(value) for value in flags.many("secret")),
        ssh=tuple(parse_ssh(value) for value in flags.many("ssh")),
        network=flags.one("network") or "default",
        add_hosts=tuple(parse_host(host) for value in flags.many("add-host") for host in value.split(",")),
        shm_size=parse_size(flags.one("shm-size") or "0", "--shm-size"),
        ulimits=tuple(parse_ulimit(value) for value in flags.many("ulimit")),
        annotations=tuple(flags.many("annotation")),
        attests=parse_attests(flags.many("attest"), flags.one("provenance"), flags.one("sbom")),
        cache_from=tuple(parse_cache(value, "--cache-from") for value in flags.many("cache-from")),
        cache_to=tuple(parse_cache(value, "--cache-to") for value in flags.many("cache-to")),
        allow=tuple(flags.many("allow")),
        cgroup_parent=flags.one("cgroup-parent") or "",
        call=call,
        call_format=call_format,
        policies=tuple(flags.many("policy")),
        resources=tuple(flags.many("resource")),
        metadata_file=flags.one("metadata-file") or "",
        iidfile=flags.one("iidfile") or "",
        progress=flags.one("progress") or "auto",
        quiet=flags.flag("quiet"),
        builder=flags.one("builder") or "",
        background=flags.flag("background"),
        dry_run=flags.flag("dry-run"),
        into=_identifier(flags.one("into") or ""),
    )


def parse_outputs(values: Sequence[str], *, push: bool = False, load: bool = False) -> tuple[Output, ...]:
    """The `--output` values, with `--push` and `--load` as buildx understands them."""
    outputs = [parse_output(value) for value in values if value]
    if push:
        pushable = [index for index, output in enumerate(outputs) if output.type in ("image", "registry")]
        for index in pushable:
            output = outputs[index]
            outputs[index] = Output(output.type, {**output.attrs, "push": "true"}, output.dest)
        if not pushable:
            outputs.append(Output("registry"))
    if load and not any(output.type == "docker" and not output.dest for output in outputs):
        outputs.append(Output("docker"))
    return tuple(outputs)


def parse_output(value: str) -> Output:
    """One `--output`: `type=…,key=value`, a bare path (local), or `-` (a tar to standard output)."""
    fields = split_csv(value, "--output")
    if fields == [value] and not value.startswith("type="):
        if "=" in value and "/" not in value.partition("=")[0]:
            raise UsageError(f"--output {value!r} has no type.", hint=f"Write type=TYPE,{value}.")
        return _checked(Output("tar" if value == "-" else "local", dest=value))
    pairs = _fields(fields, "--output")
    kind = pairs.pop("type", "")
    if not kind:
        raise UsageError(f"--output {value!r} has no type.", hint=f"It is one of {', '.join(EXPORTER_TYPES)}.")
    return _checked(Output(kind, pairs, pairs.pop("dest", "")))


def _checked(output: Output) -> Output:
    if output.type not in EXPORTER_TYPES:
        near = nearest(output.type, EXPORTER_TYPES)
        raise UsageError(
            f"There is no exporter {output.type!r}.",
            hint=f"Did you mean type={near}?" if near else f"The exporters are {', '.join(EXPORTER_TYPES)}.",
        )
    if output.dest == "-":
        raise UsageError("A notebook has no standard output for an archive to go to.", hint="Give dest= a file name.")
    directory = output.type == "local" or (
        output.type in ("oci", "docker") and not truth(output.attrs.get("tar", "true"), "tar")
    )
    if not output.dest:
        if directory or output.type in ("oci", "tar"):
            where = "a directory" if directory else "a file"
            raise UsageError(f"dest is required for the {output.type} exporter.", hint=f"Give dest= {where}.")
        return output
    if output.type in ("image", "registry", "cacheonly"):
        raise UsageError(f"The {output.type} exporter writes no file, so it takes no dest.")
    dest = user_path(output.dest)
    if directory and kind_of(dest) not in ("", "directory"):
        raise UsageError(f"dest={output.dest} is a file, and the {output.type} exporter writes a directory there.")
    if not directory and kind_of(dest) == "directory":
        raise UsageError(f"dest={output.dest} is a directory, and the {output.type} exporter writes a file there.")
    return output


def parse_build_args(values: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """`NAME=VALUE`, or `NAME` for the environment's value (left out when it has none).

    SOURCE_DATE_EPOCH comes from the environment unasked, as with buildx.
    """
    args = {name: environ[name] for name in ("SOURCE_DATE_EPOCH",) if environ.get(name)}
    for value in values:
        name, equals, text = value.partition("=")
        if not name:
            raise UsageError(f"--build-arg {value!r} has no name.", hint="Write --build-arg NAME=VALUE.")
        if equals:
            args[name] = text
        elif name in environ:
            args[name] = environ[name]
    return args


def parse_secret(value: str) -> SecretSource:
    """One `--secret`, as buildx reads it: `id=ID,src=PATH`, `id=ID,env=VAR`, or `id=ID` alone."""
    pairs = _fields(split_csv(value, "--secret"), "--secret", ("id", "src", "source", "env", "type"))
    kind, path, env = pairs.get("type", ""), pairs.get("src", pairs.get("source", "")), pairs.get("env", "")
    if kind not in ("", "file", "env"):
        raise UsageError(f"--secret has no type {kind!r}; it is file or env.")
    if kind == "env" and not env:
        path, env = "", path
    if not pairs.get("id"):
        raise UsageError(f"--secret {value!r} has no id.", hint="Write --secret id=ID,src=PATH.")
    return SecretSource(pairs["id"], path, env)


def parse_ssh(value: str) -> SSHSource:
    """One `--ssh`: `default`, `ID`, or `ID=SOCKET|KEY[,KEY]`."""
    name, equals, paths = value.partition("=")
    return SSHSource(name, tuple(paths.split(",")) if equals else ())


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)


def parse_size(value: str, what: str) -> int:
    """Bytes, in Docker's spelling: `64m`, `1.5g`, `1024`. Raises `UsageError` naming `what`."""
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise UsageError(f"{what} {value!r} is not a size.", hint="Write bytes, or a number with k, m or g.")
    size = float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " ")
    if size > LARGEST:
        raise UsageError(f"{what} {value[:40]!r} is more than there can be.")
    return int(size)


def split_csv(value: str, what: str) -> list[str]:
    """One line of comma-separated fields, with the quoting of CSV."""
    try:
        rows = list(csv.reader([value], strict=True))
    except csv.Error as error:
        raise UsageError(f"{what} {value!r} is not valid CSV: {error}.") from None
    return rows[0] if rows else []


def _fields(fields: Sequence[str], what: str, known: Sequence[str] = ()) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals:
            raise UsageError(f"{what} has {field!r}, which is no key=value pair.")
        if known and key not in known:
            near = nearest(key, known)
            raise UsageError(f"{what} takes no {key!r}.", hint=f"Did you mean {near}?" if near else "")
        pairs[key] = value
    return pairs


def _pairs(values: Sequence[str], what: str, *, bare: bool = False) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not (equals or bare):
            raise UsageError(f"{what} {value!r} is not NAME=VALUE.")
        pairs[name] = text
    return pairs


def csv_line(pairs: Mapping[str, str]) -> str:
    """Return the pairs as one line that `split_csv` reads back, values with commas in quotes."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([f"{key}={value}" for key, value in pairs.items()])
    return out.getvalue()


def parse_host(value: str) -> tuple[str, str]:
    """One `--add-host HOST:IP`. Raises UsageError."""
    name, equals, address = value.partition("=") if "=" in value else value.partition(":")
    if not (name and equals and address):
        raise UsageError(f"--add-host {value!r} is not HOST:IP.")
    return name, address.removeprefix("[").removesuffix("]")


_ULIMITS = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
]


def parse_ulimit(value: str) -> Ulimit:
    """One `--ulimit`: `NAME=SOFT[:HARD]`."""
    name, equals, limits = value.partition("=")
    if name not in _ULIMITS:
        near = nearest(name, _ULIMITS)
        raise UsageError(f"--ulimit knows no {name!r}.", hint=f"Did you mean {near}?" if near else "")
    soft, colon, hard = limits.partition(":")
    try:
        ulimit = Ulimit(name, int(soft), int(hard) if colon else int(soft))
    except ValueError:
        raise UsageError(f"--ulimit {value!r} is not NAME=SOFT[:HARD] in numbers.") from None
    if not equals or (ulimit.hard != -1 and (ulimit.soft == -1 or ulimit.soft > ulimit.hard)):
        raise UsageError(f"--ulimit {value!r}: the soft limit must not be above the hard one.")
    return ulimit


def parse_cache(value: str, what: str) -> CacheEntry:
    """One `--cache-from` or `--cache-to`: `type=TYPE,KEY=VALUE…`, or the name of an image of a registry."""
    fields = split_csv(value, what)
    if all("=" not in field for field in fields):
        return CacheEntry("registry", {"ref": value})
    pairs = _fields(fields, what)
    kind = pairs.pop("type", "")
    if not kind:
        raise UsageError(f"{what} {value!r} has no type.", hint="Write type=registry,ref=NAME, or type=local,….")
    return CacheEntry(kind, pairs)


def parse_attests(values: Sequence[str], provenance: str | None = None, sbom: str | None = None) -> tuple[str, ...]:
    """The `--attest` values, with the shorthands: `true`, `false`, or fields such as `mode=max`."""
    attests = list(values)
    for name, value in (("provenance", provenance), ("sbom", sbom)):
        if value is None:
            continue
        if "=" in value:
            attests.append(f"type={name},{value}")
        else:
            attests.append(f"type={name},disabled={str(not truth(value, f'--{name}')).lower()}")
    return tuple(attests)


_CALLS = ("build", "check", "outline", "targets")


def _call(value: str) -> tuple[str, str]:
    """One `--call`: `METHOD[,format=json][,ignorestatus=true]`; a notebook has no status to ignore."""
    words = [field for field in split_csv(value, "--call") if "=" not in field]
    rest = [field for field in split_csv(value, "--call") if "=" in field]
    pairs = _fields(rest, "--call", ("format", "ignorestatus"))
    truth(pairs.get("ignorestatus", "false"), "--call ignorestatus")
    form = pairs.get("format", "")
    if form not in ("", "json"):
        raise UsageError(f"--call has no format {form!r}; it is json.")
    method = {"lint": "check"}.get(words[0], words[0]) if len(words) == 1 else ""
    if method not in _CALLS:
        near = nearest(method, _CALLS)
        raise UsageError(
            f"--call {value!r} is not known; it takes {', '.join(_CALLS)}.",
            hint=f"Did you mean {near}?" if near else "",
        )
    return method, form


def _identifier(name: str) -> str:
    if name and not name.isidentifier():
        raise UsageError(f"--into {name!r} is not the name of a variable.")
    return name
