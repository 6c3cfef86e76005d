"""BuildOptions to SolveRequest: what is sent to a builder, the same for every builder. Pure."""

from __future__ import annotations

import re
import secrets
import shlex

import msgspec

from ..errors import UsageError, nearest
from ..oci import platform
from ..untrusted.printable import visible
from ..untrusted.redaction import redact, redact_data, redact_url
from .calls import METHODS
from .options import BuildOptions, CacheEntry, Context, Output, csv_line, parse_size

DOCKERFILE = "Dockerfile"
"""The name under which a cell's Dockerfile is offered to the builder."""

DEFAULT_PROVENANCE = "mode=min,inline-only=true"
"""The attestation that buildx asks a BuildKit for when none is asked for and none is refused."""

RESOURCES = {
    "memory": "memory",
    "memory-swap": "memswap",
    "cpu-shares": "cpushares",
    "cpu-period": "cpuperiod",
    "cpu-quota": "cpuquota",
    "cpuset-cpus": "cpusetcpus",
    "cpuset-mems": "cpusetmems",
}
"""What `--resource` limits, as the front end calls it."""

_REMOTE = re.compile(r"^(https?://|git://|git@|ssh://|github\.com/)|\.git(#.*)?$")
_LOCAL = re.compile(r"[./~\\]|[A-Za-z]:[\\/](?!/)")
"""What paths begin with, also on Windows."""


class ExporterEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """One exporter of a request. Where it writes to is the session's sink of the same `id`."""

    type: str
    attrs: dict[str, str] = {}
    id: str = msgspec.field(name="ID", default="")


class CacheOptions(msgspec.Struct, frozen=True, rename="pascal"):
    """Caches to read from and to write to, outside the builder."""

    imports: tuple[CacheEntry, ...] = ()
    exports: tuple[CacheEntry, ...] = ()


class SolveRequest(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    """BuildKit's `moby.buildkit.v1.SolveRequest`: `frontend_attrs` and `exporters` have its keys and values."""

    ref: str
    session: str = ""
    frontend: str = "dockerfile.v0"
    frontend_attrs: dict[str, str] = {}
    exporters: tuple[ExporterEntry, ...] = ()
    cache: CacheOptions = CacheOptions()
    entitlements: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The request as people read it: indented JSON with BuildKit's field names, redacted."""
        return msgspec.json.format(msgspec.json.encode(self.redacted(), order="sorted"), indent=2).decode()

    def redacted(self) -> SolveRequest:
        """The request as it is kept and shown: without the credentials of URLs."""
        return msgspec.convert(redact_data(msgspec.to_builtins(self)), SolveRequest)


def is_remote(context: str) -> bool:
    """Whether a context is a Git or HTTP URL, which the builder fetches, rather than a local path."""
    return bool(_REMOTE.search(context)) and not _LOCAL.match(context)


def is_reference(context: str) -> bool:
    """Whether a named context is something that the builder resolves, rather than a local directory."""
    return is_remote(context) or context.startswith(("docker-image://", "oci-layout://", "target:"))


def default_outputs(options: BuildOptions, driver: str) -> tuple[Output, ...]:
    """The outputs of a build that names none.

    Docker's engine keeps the image; the embedded builder keeps one that has a name; others only fill the cache.
    """
    if options.outputs or options.call != "build":
        return options.outputs
    if driver == "docker" or (driver == "embedded" and options.tags):
        return (Output("image"),)
    return (Output("cacheonly"),)


def numbered_outputs(options: BuildOptions, driver: str) -> dict[str, Output]:
    """Return the outputs that something is exported for, by the id that an exporter and its sink share."""
    exported = (output for output in default_outputs(options, driver) if output.type != "cacheonly")
    return {str(index): output for index, output in enumerate(exported)}


def compile_request(options: BuildOptions, driver: str = "embedded", *, session: str = "") -> SolveRequest:
    """The request that `options` mean to a builder of the kind `driver`.

    Raises `UsageError` for combinations that no builder can do, such as a push without a name.
    """
    if options.build_args.get("BUILDKIT_SYNTAX", "x").strip() == "":
        raise UsageError(
            "empty BUILDKIT_SYNTAX build-arg is invalid.", hint="Leave it out to use what the Dockerfile says."
        )
    attrs = _context_attrs(options)
    attrs |= {f"build-arg:{name}": value for name, value in options.build_args.items()}
    attrs |= {f"label:{name}": value for name, value in options.labels.items()}
    attrs |= {f"attest:{kind}": value for kind, value in _attests(options).items()}
    named = any("type=provenance" in one for one in options.attests)
    if driver != "embedded" and options.call == "build" and not named:
        attrs["attest:provenance"] = DEFAULT_PROVENANCE
    if options.pull:
        attrs["image-resolve-mode"] = "pull"
    elif driver == "docker":
        attrs["image-resolve-mode"] = "local"
    if options.target:
        attrs["target"] = options.target
    if options.no_cache:
        attrs["no-cache"] = ""
    elif options.no_cache_filter:
        attrs["no-cache"] = ",".join(options.no_cache_filter)
    if options.platforms:
        named = (platform.host() if name == "local" else platform.parse(name) for name in options.platforms)
        attrs["platform"] = ",".join(dict.fromkeys(platform.normalise(one).full for one in named))
    if options.network != "default":
        attrs["force-network-mode"] = options.network
    if options.add_hosts:
        attrs["add-hosts"] = ",".join(f"{host}={address}" for host, address in options.add_hosts)
    if options.shm_size:
        attrs["shm-size"] = str(options.shm_size)
    if options.ulimits:
        attrs["ulimit"] = ",".join(str(ulimit) for ulimit in options.ulimits)
    if options.cgroup_parent:
        attrs["cgroup-parent"] = options.cgroup_parent
    if options.call != "build":
        attrs["requestid"] = METHODS[options.call]
    attrs |= dict(_resource(resource) for resource in options.resources)
    entitlements = options.allow + (("network.host",) if options.network == "host" else ())
    return SolveRequest(
        ref=secrets.token_hex(12),
        session=session,
        frontend_attrs=attrs,
        exporters=_exporters(options, numbered_outputs(options, driver)),
        cache=CacheOptions(options.cache_from, options.cache_to),
        entitlements=tuple(dict.fromkeys(entitlements)),
    )


def _resource(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    attr = RESOURCES.get(name.strip())
    if not equals or attr is None:
        near = nearest(name, list(RESOURCES))
        known = f"It takes {', '.join(RESOURCES)}."
        raise UsageError(f"--resource {text!r} is not known.", hint=f"Did you mean {near}=…?" if near else known)
    return attr, str(parse_size(value, f"--resource {name}")) if attr.startswith("mem") else value.strip()


def _context_attrs(options: BuildOptions) -> dict[str, str]:
    attrs = {"filename": DOCKERFILE}
    remote = isinstance(options.context, str) and is_remote(options.context)
    if remote:
        attrs["context"] = str(options.context)
    if options.dockerfile is not None:
        attrs["dockerfilekey"] = "dockerfile"
    elif options.file:
        here = not remote or options.file.startswith("/")
        attrs["filename"] = options.file.rpartition("/")[2] if here else options.file
        if remote and here:
            attrs["dockerfilekey"] = "dockerfile"
    for name, where in options.build_contexts.items():
        attrs[f"context:{name}"] = where if is_reference(where) else f"local:{name}"
    return attrs


def _exporters(options: BuildOptions, outputs: dict[str, Output]) -> tuple[ExporterEntry, ...]:
    entries: list[ExporterEntry] = []
    for number, output in outputs.items():
        if output.type in ("local", "tar") and options.iidfile:
            raise UsageError(
                "local and tar exporters are incompatible with image ID file.",
                hint="They make no image: leave --iidfile out, or name another --output.",
            )
        kind, attrs = output.type, dict(output.attrs)
        if kind == "registry":
            kind, attrs = "image", {"unpack": "false", **attrs, "push": "true"}
        if kind in ("image", "oci", "docker"):
            if options.tags:
                attrs["name"] = ",".join(options.tags)
            attrs |= _annotations(options.annotations)
        if kind == "image" and attrs.get("push") == "true" and not attrs.get("name"):
            raise UsageError("A push needs a name to push to.", hint="Add -t NAME.")
        entries.append(ExporterEntry(kind, attrs, number))
    return tuple(entries)


_ANNOTATION = re.compile(r"(manifest|manifest-descriptor|index|index-descriptor)(?:\[([\w/.-]+)\])?")


def _annotations(values: tuple[str, ...]) -> dict[str, str]:
    attrs: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise UsageError(f"--annotation {value!r} is not KEY=VALUE.")
        kinds, colon, name = key.partition(":")
        if not colon:
            attrs[f"annotation.{key}"] = text
            continue
        for kind in kinds.split(","):
            match = _ANNOTATION.fullmatch(kind)
            if not match:
                raise UsageError(
                    f"--annotation knows no {kind!r}.",
                    hint="It is manifest, manifest-descriptor, index or index-descriptor.",
                )
            only = f"[{match[2]}]" if match[2] else ""
            attrs[f"annotation-{match[1]}{only}.{name}"] = text
    return attrs


def _attests(options: BuildOptions) -> dict[str, str]:
    attests: dict[str, str] = {}
    for value in options.attests:
        fields = {name: text for name, _, text in (field.partition("=") for field in value.split(","))}
        kind = fields.pop("type", "")
        if kind not in ("provenance", "sbom"):
            raise UsageError(f"--attest {value!r} has no known type.", hint="It is type=provenance or type=sbom.")
        if fields.pop("disabled", "false") == "true":
            attests.pop(kind, None)
        else:
            attests[kind] = ",".join(f"{key}={text}" for key, text in fields.items())
    return attests


def equivalent_command(options: BuildOptions) -> str:
    """The `docker buildx build` command that means the same, for people to read and to run; credentials left out."""
    words: list[str] = []

    def add(flag: str, *values: str) -> None:
        for value in values:
            words.extend((flag, value))

    add("--builder", *([options.builder] if options.builder not in ("", "embedded") else []))
    add("-t", *options.tags)
    add("-o", *(str(output) for output in default_outputs(options, "embedded")))
    add("--build-arg", *(f"{name}={value}" for name, value in options.build_args.items()))
    add("--build-context", *(f"{name}={redact_url(where)}" for name, where in options.build_contexts.items()))
    add("--label", *(f"{name}={value}" for name, value in options.labels.items()))
    add("--target", *([options.target] if options.target else []))
    add("--platform", *([",".join(options.platforms)] if options.platforms else []))
    words += ["--pull"] * options.pull + ["--no-cache"] * options.no_cache
    add("--no-cache-filter", *options.no_cache_filter)
    for secret in options.secrets:
        source = {"src": secret.path} if secret.path else {"env": secret.env} if secret.env else {}
        add("--secret", csv_line({"id": secret.id, **source}))
    add("--ssh", *("=".join(filter(None, (ssh.id, ",".join(ssh.paths)))) for ssh in options.ssh))
    add("--network", *([options.network] if options.network != "default" else []))
    add("--add-host", *(f"{host}={address}" for host, address in options.add_hosts))
    add("--shm-size", *([str(options.shm_size)] if options.shm_size else []))
    add("--ulimit", *(str(ulimit) for ulimit in options.ulimits))
    add("--annotation", *options.annotations)
    add("--attest", *options.attests)
    for flag, caches in (("--cache-from", options.cache_from), ("--cache-to", options.cache_to)):
        add(flag, *map(str, caches))
    add("--allow", *options.allow)
    add("--cgroup-parent", *([options.cgroup_parent] if options.cgroup_parent else []))
    form = f",format={options.call_format}" if options.call_format else ""
    add("--call", *([options.call + form] if options.call != "build" else []))
    add("--policy", *options.policies)
    add("--resource", *options.resources)
    add("--metadata-file", *([options.metadata_file] if options.metadata_file else []))
    add("--iidfile", *([options.iidfile] if options.iidfile else []))
    context, note = _context(options.context)
    heredoc = ""
    if options.dockerfile is not None:
        end = "DOCKERFILE"
        while end in options.dockerfile:
            end += "_"
        if context == "-":
            words.append("-")
        else:
            words += ["-f", "-", context]
        heredoc = f" <<'{end}'\n{options.dockerfile.rstrip()}\n{end}"
    else:
        add("-f", *([options.file] if options.file else []))
        words.append(context)
    return redact(f"{note}docker buildx build {shlex.join(words)}{heredoc}")


_DICT = "context"
"""The directory that stands for a dict in the command that means the same."""
_NAMED = 5


def _context(context: Context) -> tuple[str, str]:
    """How a context is named on a command line, and the line above it that tells what to do first."""
    if isinstance(context, str):
        return redact_url(context), ""
    if context is None:
        return ".", ""
    names = [shlex.quote(name) for name in list(context)[:_NAMED]]
    more = len(context) - len(names)
    listed = ", ".join(visible(name) for name in names) + (f" and {more:,} more" if more else "")
    files = f"the file of the dict ({listed})" if len(context) == 1 else f"the files of the dict ({listed})"
    return _DICT, f"# First write {files} to a directory named {_DICT}.\n" if context else f"# First: mkdir {_DICT}\n"
