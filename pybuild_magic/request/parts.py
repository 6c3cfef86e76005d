"""The part of each option in the request to a builder: front-end attributes, attributes of images, caches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from ..errors import UsageError, nearest
from ..oci import platform
from .calls import METHODS
from .flags import truth
from .options import BuildOptions
from .outputs import Output
from .values import CacheEntry, csv_line, is_reference, is_remote, parse_size, split_csv

DOCKERFILE = "Dockerfile"
"""The name under which a cell's Dockerfile is offered to the builder."""

DEFAULT_PROVENANCE = "mode=min,inline-only=true"
"""The provenance that buildx requests from BuildKit when the user neither asks for one nor refuses it."""

RESOURCES = {
    "memory": "memory",
    "memory-swap": "memswap",
    "cpu-shares": "cpushares",
    "cpu-period": "cpuperiod",
    "cpu-quota": "cpuquota",
    "cpuset-cpus": "cpusetcpus",
    "cpuset-mems": "cpusetmems",
}
"""The limits of `--resource`, each with the front end's attribute."""

_ANNOTATION = re.compile(r"(manifest|manifest-descriptor|index|index-descriptor)(?:\[([\w/.-]+)\])?")


class Part(msgspec.Struct, frozen=True):
    """One option's share of a request."""

    attrs: Mapping[str, str] = {}
    """Front-end attributes."""
    image: Mapping[str, str] = {}
    """Attributes of every exporter that makes an image."""
    outputs: Mapping[str, Output] = {}
    """The outputs, by the id that an exporter and its sink share."""
    imports: tuple[CacheEntry, ...] = ()
    exports: tuple[CacheEntry, ...] = ()
    entitlements: tuple[str, ...] = ()


class Build(msgspec.Struct, frozen=True):
    """The subject of a request, and the kind of builder that it is for."""

    options: BuildOptions
    driver: str


Compile = Callable[[Build], Part]
"""From a build to the part that one of its options has in the request. Raises UsageError."""


def unsent(_: Build) -> Part:
    """Return an empty part: the option matters on this side only, or is sent with the one that it is short for."""
    return Part()


def _attr(name: str, value: object) -> Part:
    """Return a front-end attribute, left out when the value is empty."""
    return Part({name: str(value)} if value else {})


def dockerfile(build: Build) -> Part:
    """Name the Dockerfile: the cell's, or `--file`, whose directory is sent for it unless the context is remote."""
    context, file = build.options.context, build.options.file
    remote = isinstance(context, str) and is_remote(context)
    attrs = {"context": str(context)} if remote else {}
    if build.options.dockerfile is not None:
        return Part({**attrs, "filename": DOCKERFILE, "dockerfilekey": "dockerfile"})
    sent = not remote or file.startswith("/")
    if remote and file and sent:
        attrs["dockerfilekey"] = "dockerfile"
    return Part({**attrs, "filename": (file.rpartition("/")[2] if sent else file) if file else DOCKERFILE})


def build_args(build: Build) -> Part:
    """Set the build arguments. Raises UsageError for an empty BUILDKIT_SYNTAX, as BuildKit does."""
    values = build.options.build_args
    if values.get("BUILDKIT_SYNTAX", "x").strip() == "":
        raise UsageError(
            "empty BUILDKIT_SYNTAX build-arg is invalid.", hint="Leave it out to use what the Dockerfile says."
        )
    return Part({f"build-arg:{name}": value for name, value in values.items()})


def build_contexts(build: Build) -> Part:
    """Name each context: the reference that the builder resolves, or the directory of the session."""
    contexts = build.options.build_contexts.items()
    return Part({f"context:{name}": where if is_reference(where) else f"local:{name}" for name, where in contexts})


def labels(build: Build) -> Part:
    """Set the labels."""
    return Part({f"label:{name}": value for name, value in build.options.labels.items()})


def attests(build: Build) -> Part:
    """Request attestations; from BuildKit also the provenance that buildx requests when no option mentions it.

    Raises UsageError for an unknown type.
    """
    requests: dict[str, str] = {}
    named: set[str] = set()
    for value in build.options.attests:
        fields = {name: text for name, _, text in (field.partition("=") for field in split_csv(value, "--attest"))}
        kind = fields.pop("type", "")
        if kind not in ("provenance", "sbom"):
            raise UsageError(f"--attest {value!r} has no known type.", hint="Use type=provenance or type=sbom.")
        named.add(kind)
        if truth(fields.pop("disabled", "false"), "--attest disabled"):
            requests.pop(kind, None)
        else:
            requests[kind] = csv_line(fields) if fields else ""
    if build.driver != "embedded" and build.options.call.method == "build" and "provenance" not in named:
        requests["provenance"] = DEFAULT_PROVENANCE
    return Part({f"attest:{kind}": text for kind, text in requests.items()})


def pull(build: Build) -> Part:
    """Set where images are looked for first: in a Docker engine, its own are as good as the registry's."""
    return _attr("image-resolve-mode", "pull" if build.options.pull else "local" if build.driver == "docker" else "")


def target(build: Build) -> Part:
    """Name the stage."""
    return _attr("target", build.options.target)


def no_cache(build: Build) -> Part:
    """Disable the cache: for all stages, which is the value "", or for those of `--no-cache-filter`."""
    if build.options.no_cache:
        return Part({"no-cache": ""})
    return _attr("no-cache", ",".join(build.options.no_cache_filter))


def platforms(build: Build) -> Part:
    """Name each platform once, in its normal form; `local` is this machine's. Raises UsageError."""
    parsed = [platform.host() if name == "local" else platform.parse(name) for name in build.options.platforms]
    return _attr("platform", ",".join(dict.fromkeys(platform.normalise(target).full for target in parsed)))


def network(build: Build) -> Part:
    """Set the network mode; the machine's network is an entitlement too."""
    mode = build.options.network
    return Part(
        {} if mode == "default" else {"force-network-mode": mode},
        entitlements=("network.host",) if mode == "host" else (),
    )


def allow(build: Build) -> Part:
    """Grant the entitlements."""
    return Part(entitlements=build.options.allow)


def add_hosts(build: Build) -> Part:
    """Join the hosts as the front end reads them."""
    return _attr("add-hosts", ",".join(f"{host}={address}" for host, address in build.options.add_hosts))


def shm_size(build: Build) -> Part:
    """Set the size of /dev/shm."""
    return _attr("shm-size", build.options.shm_size)


def ulimits(build: Build) -> Part:
    """Join the limits as the front end reads them."""
    return _attr("ulimit", ",".join(map(str, build.options.ulimits)))


def cgroup_parent(build: Build) -> Part:
    """Name the cgroup."""
    return _attr("cgroup-parent", build.options.cgroup_parent)


def call(build: Build) -> Part:
    """Name the front end's subrequest; a build has none."""
    return _attr("requestid", METHODS.get(build.options.call.method, ""))


def resources(build: Build) -> Part:
    """Set the limits of RUN, sizes in bytes. Raises UsageError for an unknown limit."""
    return Part(dict(map(_resource, build.options.resources)))


def _resource(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    attribute = RESOURCES.get(name.strip())
    if not equals or attribute is None:
        suggestion = nearest(name, list(RESOURCES))
        known = f"It takes {', '.join(RESOURCES)}."
        raise UsageError(
            f"--resource {text!r} is not known.", hint=f"Did you mean {suggestion}=…?" if suggestion else known
        )
    return attribute, str(parse_size(value, f"--resource {name}")) if attribute.startswith("mem") else value.strip()


def cache_from(build: Build) -> Part:
    """Read from the caches."""
    return Part(imports=build.options.cache_from)


def cache_to(build: Build) -> Part:
    """Write to the caches."""
    return Part(exports=build.options.cache_to)


def tags(build: Build) -> Part:
    """Name every image."""
    names = build.options.tags
    return Part(image={"name": ",".join(names)} if names else {})


def annotate(build: Build) -> Part:
    """Annotate the manifests or indexes of every image: `[KIND[PLATFORM]:]KEY=VALUE`. Raises UsageError."""
    image: dict[str, str] = {}
    for value in build.options.annotations:
        key, equals, text = value.partition("=")
        if not equals:
            raise UsageError(f"--annotation {value!r} is not KEY=VALUE.")
        kinds, colon, name = key.partition(":")
        if not colon:
            image[f"annotation.{key}"] = text
            continue
        for kind in kinds.split(","):
            match = _ANNOTATION.fullmatch(kind)
            if not match:
                raise UsageError(
                    f"--annotation does not know {kind!r}.",
                    hint="Use manifest, manifest-descriptor, index or index-descriptor.",
                )
            only = f"[{match[2]}]" if match[2] else ""
            image[f"annotation-{match[1]}{only}.{name}"] = text
    return Part(image=image)


def outputs(build: Build) -> Part:
    """Export to the requested outputs, or to the builder's default."""
    return Part(outputs=numbered_outputs(build.options, build.driver))


def iidfile(build: Build) -> Part:
    """Send nothing. Raises UsageError where an output makes no image whose ID could be written."""
    outputs = default_outputs(build.options, build.driver)
    if build.options.iidfile and any(output.exporter.files for output in outputs):
        raise UsageError(
            "local and tar exporters are incompatible with image ID file.",
            hint="They make no image: leave --iidfile out, or name another --output.",
        )
    return Part()


def default_outputs(options: BuildOptions, driver: str) -> tuple[Output, ...]:
    """Return the outputs of a build, or the builder's default when it names none.

    Docker's engine keeps the image; the embedded builder keeps an image that has a name; others only fill the cache.
    """
    if options.outputs or options.call.method != "build":
        return options.outputs
    if driver == "docker" or (driver == "embedded" and options.tags):
        return (Output("image"),)
    return (Output("cacheonly"),)


def numbered_outputs(options: BuildOptions, driver: str) -> dict[str, Output]:
    """Return the outputs that export something, by the id that an exporter and its sink share.

    A question (`--call`) has an answer, but nothing to export.
    """
    if options.call.method != "build":
        return {}
    exported = (output for output in default_outputs(options, driver) if output.type != "cacheonly")
    return {str(index): output for index, output in enumerate(exported)}
