"""The options of a build: one table with a row for each option, from which everything that deals with options is made.

Command lines, keyword arguments, help, completion, the reference page, the request to a builder and the docker command
that means the same all loop over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..summary import TABS
from ..untrusted.redaction import redact_url
from . import parts
from .flags import Kind
from .outputs import loaded, parse_output, pushed
from .parts import Compile, unsent
from .progress import PROGRESS
from .rows import PARSE, Parse, Row, RowInput, each_word, field_of
from .values import (
    attestation,
    parse_build_args,
    parse_cache,
    parse_call,
    parse_host,
    parse_pair,
    parse_secret,
    parse_size,
    parse_ssh,
    parse_ulimit,
    parse_variable,
    secret_line,
    ssh_line,
)

Show = Callable[[Any], Iterable[str]]
"""From the value of the field to the values of the flag in a docker command."""


class Option(Row, frozen=True, kw_only=True):
    """A row for a field of BuildOptions. Only the type of the keyword argument is elsewhere, in `api.arguments`."""

    compile: Compile
    show: Show
    shorthand: bool = False
    """True for another way to set the field of an earlier row, which shows and sends it: `--push` for `--output`."""
    notebook: bool = False
    """True for a flag of ours that `docker buildx build` does not have."""

    @property
    def argument(self) -> str:
        """The name of the option as a keyword argument of `pybuild_magic.build`."""
        return field_of(self.name) if self.shorthand else self.field


def _names(words: Iterable[str]) -> tuple[str, ...]:
    """Split words at their commas."""
    return tuple(name for word in words for name in word.split(",") if name)


def _pairs(flag: str, *, bare: bool = False) -> Parse:
    return lambda source: dict(parse_pair(word, flag, bare=bare) for word in source.words)


def _platforms(source: RowInput) -> tuple[str, ...]:
    return _names(source.words or [source.environ["DOCKER_DEFAULT_PLATFORM"]])


def _show_text(value: object) -> Iterable[str]:
    return [str(value)] if value else []


def _show_pairs(pairs: Mapping[str, str]) -> Iterable[str]:
    return [f"{name}={value}" for name, value in pairs.items()]


def _show_unless(default: str) -> Show:
    return lambda value: [] if str(value) == default else [str(value)]


def _hide(_: object) -> Iterable[str]:
    """Show nothing: docker has no such option, or the row above shows it."""
    return ()


_BOOL, _ONE, _MANY = Kind.BOOL, Kind.ONE, Kind.MANY
_SHOW: dict[Kind, Show] = {
    _BOOL: lambda value: ["true"] if value else [],
    _ONE: _show_text,
    _MANY: lambda values: [str(value) for value in values],
}


def _option(
    name: str,
    kind: Kind,
    metavar: str,
    doc: str,
    compile: Compile,  # noqa: A002 - the field's name
    *,
    parse: Parse | None = None,
    show: Show | None = None,
    field: str = "",
    **more: Any,
) -> Option:
    """Return a row. By default, its field has the name of the flag, and text is taken and shown as it is."""
    field = field or field_of(name)
    return Option(
        name, kind, metavar, doc,
        field=field, parse=parse or PARSE[kind], compile=compile, show=show or _SHOW[kind], **more,
    )  # fmt: skip


def _shorthand(name: str, kind: Kind, metavar: str, doc: str, field: str, parse: Parse) -> Option:
    return _option(name, kind, metavar, doc, unsent, field=field, parse=parse, show=_hide, shorthand=True)


OPTIONS: tuple[Option, ...] = (
    _option("add-host", _MANY, "HOST:IP", "Add a custom host-to-IP mapping", parts.add_hosts, field="add_hosts",
            parse=lambda source: tuple(parse_host(host) for word in source.words for host in word.split(",")),
            show=lambda hosts: [f"{host}={address}" for host, address in hosts]),
    _option("allow", _MANY, "ENTITLEMENT", "Allow an extra privileged entitlement, such as network.host", parts.allow),
    _option("annotation", _MANY, "KEY=VALUE", "Add an annotation to the image", parts.annotate,
            field="annotations"),
    _option("attest", _MANY, "type=TYPE,...", "Attestation parameters", parts.attests, field="attests"),
    _shorthand("provenance", _ONE, "MODE", "Shorthand for --attest=type=provenance", "attests",
               lambda source: (*source.field, attestation("provenance", source.last))),
    _shorthand("sbom", _ONE, "MODE", "Shorthand for --attest=type=sbom", "attests",
               lambda source: (*source.field, attestation("sbom", source.last))),
    _option("build-arg", _MANY, "KEY[=VALUE]", "Set a build-time variable; without a value, from the environment",
            parts.build_args, field="build_args", variables=("SOURCE_DATE_EPOCH",),
            parse=lambda source: dict(parse_build_args(source.words, source.environ)), show=_show_pairs),
    _option("build-context", _MANY, "NAME=PATH",
            "Additional build context: path, URL, docker-image://, oci-layout://", parts.build_contexts,
            field="build_contexts", parse=_pairs("--build-context"),
            show=lambda contexts: _show_pairs({name: redact_url(where) for name, where in contexts.items()})),
    _option("builder", _ONE, "NAME", "Builder: embedded, or the name or address of a BuildKit", unsent,
            show=lambda name: [] if name == "embedded" else _show_text(name)),
    _option("cache-from", _MANY, "SOURCE", "External cache source", parts.cache_from,
            parse=each_word(lambda word: parse_cache(word, "--cache-from"))),
    _option("cache-to", _MANY, "DEST", "Cache export destination", parts.cache_to,
            parse=each_word(lambda word: parse_cache(word, "--cache-to"))),
    _option("call", _ONE, "METHOD", "build, check, outline or targets; METHOD,format=json for JSON", parts.call,
            parse=lambda source: parse_call(source.last or "build"), show=_show_unless("build")),
    _shorthand("check", _BOOL, "", "Shorthand for --call=check", "call",
               lambda source: parse_call("check") if source.on else source.field),
    _option("cgroup-parent", _ONE, "CGROUP", "Parent cgroup of RUN instructions", parts.cgroup_parent),
    _option("file", _ONE, "PATH", "Name of the Dockerfile", parts.dockerfile, short="f"),
    _option("iidfile", _ONE, "PATH", "Write the image ID to a file", parts.iidfile),
    _option("label", _MANY, "KEY=VALUE", "Add a label to the image", parts.labels, field="labels",
            parse=_pairs("--label", bare=True), show=_show_pairs),
    _option("locked", _BOOL, "", "Use only the sources recorded in the lock beside the Dockerfile", unsent,
            notebook=True, show=_hide),
    _option("metadata-file", _ONE, "PATH", "Write the build result's metadata to a file", unsent),
    _option("network", _ONE, "MODE", "Network of RUN instructions", parts.network,
            choices=("default", "none", "host"), show=_show_unless("default")),
    _option("no-cache", _BOOL, "", "Do not use the cache", parts.no_cache),
    _option("no-cache-filter", _MANY, "STAGE", "Do not use the cache for these stages", unsent,
            parse=lambda source: _names(source.words)),
    _option("output", _MANY, "type=TYPE,dest=PATH,...", "Destination of the result; a bare path means local",
            parts.outputs, field="outputs", short="o",
            parse=lambda source: tuple(parse_output(word) for word in source.words if word)),
    _shorthand("push", _BOOL, "", "Shorthand for --output=type=registry", "outputs",
               lambda source: pushed(source.field) if source.on else source.field),
    _shorthand("load", _BOOL, "", "Shorthand for --output=type=docker", "outputs",
               lambda source: loaded(source.field) if source.on else source.field),
    _option("platform", _MANY, "OS/ARCH", "Target platform", parts.platforms, field="platforms",
            variables=("DOCKER_DEFAULT_PLATFORM",), parse=_platforms, show=lambda names: _show_text(",".join(names))),
    _option("policy", _MANY, "filename=PATH,...", "Source policy", unsent, field="policies"),
    _option("progress", _ONE, "MODE", "How progress is shown", unsent, show=_hide,
            choices=PROGRESS),
    _option("pull", _BOOL, "", "Always look for newer versions of the base images", parts.pull),
    _option("quiet", _BOOL, "", "Show only the image ID on success", unsent, short="q"),
    _option("resource", _MANY, "KEY=VALUE", "Resource limits of RUN instructions", parts.resources, field="resources"),
    _option("secret", _MANY, "id=ID[,src=PATH|env=VAR]", "Secret to expose to the build", unsent, field="secrets",
            parse=each_word(parse_secret), show=lambda secrets: map(secret_line, secrets)),
    _option("shm-size", _ONE, "BYTES", "Size of /dev/shm of RUN instructions", parts.shm_size,
            parse=lambda source: parse_size(source.last or "0", "--shm-size")),
    _option("ssh", _MANY, "default|ID[=SOCKET]", "SSH agent to expose to the build", unsent,
            parse=each_word(parse_ssh), show=lambda sources: map(ssh_line, sources)),
    _option("tag", _MANY, "NAME[:TAG]", "Name of the image", parts.tags, short="t", field="tags"),
    _option("target", _ONE, "STAGE", "The stage to build", parts.target),
    _option("ulimit", _MANY, "NAME=SOFT[:HARD]", "Limits of RUN instructions", parts.ulimits, field="ulimits",
            parse=each_word(parse_ulimit)),
    _option("background", _BOOL, "", "Return at once, with a handle to wait for or cancel the build", unsent,
            notebook=True, show=_hide),
    _option("debug", _BOOL, "", "Keep the state of a failed step, and show how to enter it", unsent,
            notebook=True, show=_hide),
    _option("dry-run", _BOOL, "", "Show the request and the docker command, without building", unsent,
            notebook=True, show=_hide),
    _option("into", _ONE, "NAME", "Store the BuildResult, or the handle of --background, in this variable", unsent,
            notebook=True, parse=lambda source: parse_variable(source.last), show=_hide),
    _option("view", _ONE, "TAB", "The tab to open first, such as layers", unsent,
            notebook=True, choices=TABS, show=_hide),
)  # fmt: skip
"""A shorthand comes after the option that it is short for, and is read after it."""
