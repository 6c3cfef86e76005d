"""The flags and attributes of exporters that do not simply work on both builders, and how they differ.

`tests/options/test_support.py` holds the claims to the code, and the rows to BuildKit's own lists.
"""

from __future__ import annotations

from typing import NamedTuple

from pybuild_magic import exporters
from pybuild_magic.request.outputs import EXPORTERS
from pybuild_magic.request.table import OPTIONS

WORKS = "works"
SENTENCE = "a sentence"
"""The option is refused with an error that says what to do instead; nothing is silently ignored."""


class Support(NamedTuple):
    """The claims of a row."""

    embedded: str = WORKS
    buildkit: str = WORKS
    differs: str = ""


FLAGS: dict[str, Support] = {
    "allow": Support(differs="Embedded: network.host, security.insecure, device. BuildKit: what its daemon allows."),
    "attest": Support(differs="Embedded: provenance and sbom; nothing is attested unless it is asked for."),
    "builder": Support(differs="`embedded`, or the name or address of a BuildKit."),
    "cache-from": Support(
        differs="Embedded: registry, local, inline; gha, s3 and azblob are a sentence. BuildKit: what its daemon has."
    ),
    "cache-to": Support(
        differs="Embedded: registry, local, inline; gha, s3 and azblob are a sentence. BuildKit: what its daemon has."
    ),
    "cgroup-parent": Support(differs="Embedded: works where the user may make cgroups; a sentence elsewhere."),
    "load": Support(differs="From either builder, into the Docker engine of `DOCKER_HOST` or the current context."),
    "metadata-file": Support(differs="Embedded: `max` tells nothing of the machine's load, and no credentials."),
    "network": Support(differs="Embedded: the default network is the machine's, as with rootless BuildKit."),
    "policy": Support(
        SENTENCE, SENTENCE, "No builder evaluates policies; `docker buildx` does that itself, from version 0.31 on."
    ),
    "progress": Support(differs="There is no `tty`, but `widget` and `none`."),
    "resource": Support(differs="Embedded: works where the user may make cgroups. BuildKit: if the daemon can."),
    "sbom": Support(differs="Embedded: has a built-in scanner. `generator=IMAGE` works on both."),
    "tag": Support(differs="Embedded: without an output, the image is kept in the store for the next `FROM`."),
}
"""By name; a flag that is not here works on both and does the same."""

NOT_OURS: dict[str, Support] = {
    "debug": Support("another", "another", "buildx's turns on its own logging; ours opens a shell in a failed step."),
    "help": Support(differs="`%build --help`."),
}
"""Flags of `docker buildx build` that have no row in the table of options, or mean something else there."""

BUILDKIT_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "image": (
        *("name", "push", "push-by-digest", "registry.insecure", "unpack", "dangling-name-prefix"),
        *("danging-name-empty-only", "name-canonical", "store", "oci-mediatypes", "oci-artifact"),
        *("attestation-inline", "prefer-nondist-layers", "source-date-epoch", "compression", "force-compression"),
        *("compression-level", "rewrite-timestamp", "annotation.KEY", "buildinfo", "buildinfo-attrs"),
    ),
    "oci": (
        *("name", "dest", "tar", "oci-mediatypes", "oci-artifact", "attestation-inline", "prefer-nondist-layers"),
        *("source-date-epoch", "compression", "force-compression", "compression-level", "rewrite-timestamp"),
        *("annotation.KEY", "buildinfo", "buildinfo-attrs"),
    ),
    "local": ("dest", "attestation-prefix", "platform-split", "source-date-epoch", "mode"),
    "tar": ("dest", "attestation-prefix", "platform-split", "source-date-epoch"),
    "cacheonly": (),
}
"""The names that BuildKit's exporters and their client read (`exporter/*/`), or used to read."""
BUILDKIT_ATTRIBUTES |= {"registry": BUILDKIT_ATTRIBUTES["image"], "docker": BUILDKIT_ATTRIBUTES["oci"]}

_GONE = Support(SENTENCE, "ignored", "Removed from BuildKit in 0.14; `--provenance` records more.")
_ESTARGZ = Support(differs="Embedded: `estargz` is a sentence.")
_UNPACK = Support(
    differs="Embedded: accepted without effect, since the store has the layers. Docker's engine always unpacks."
)
_DANGLING = Support(differs="Docker's engine does not read it.")
DECIDED_BY_ENGINE = {(kind, name) for kind in ("image", "registry") for name in ("unpack", "danging-name-empty-only")}
"""Attributes that Docker's engine, unlike buildkitd, does not read."""
DECIDED_BY_CLIENT = {("local", "mode"), ("registry", "push")}
"""Attributes that take effect in the client, ours included, whether or not the daemon reads them."""
_PACKED = ("image", "registry", "oci", "docker")
ATTRIBUTES: dict[tuple[str, str], Support] = {
    **{(kind, name): _GONE for kind in _PACKED for name in ("buildinfo", "buildinfo-attrs")},
    **{(kind, "compression"): _ESTARGZ for kind in _PACKED},
    **{(kind, "unpack"): _UNPACK for kind in ("image", "registry")},
    **{(kind, "danging-name-empty-only"): _DANGLING for kind in ("image", "registry")},
    ("registry", "push"): Support(differs="Always true, whatever is said; so it is with buildx."),
    ("registry", "dangling-name-prefix"): Support(differs="Without effect, as only an image with a name is pushed."),
    ("local", "mode"): Support(differs="The client deletes, so any BuildKit will do; buildx does so from 0.35 on."),
}
"""By exporter and name; an attribute that is not here works on both and does the same."""


def flag_rows() -> list[tuple[str, Support]]:
    """Return every flag of `docker buildx build`, with its claims, by name."""
    rows = [(option.name, FLAGS.get(option.name, Support())) for option in OPTIONS if not option.notebook]
    return sorted([*rows, *NOT_OURS.items()])


def attribute_rows() -> list[tuple[str, str, Support]]:
    """Return every attribute of every exporter, with its claims: BuildKit's, and our own."""
    rows: list[tuple[str, str, Support]] = []
    for kind in EXPORTERS:
        ours = [attribute.name for attribute in exporters.get(kind).attributes]
        names = dict.fromkeys([*BUILDKIT_ATTRIBUTES.get(kind, ()), *ours])
        rows += [(kind, name, ATTRIBUTES.get((kind, name), Support())) for name in names]
    return rows
