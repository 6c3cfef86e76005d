"""The attributes of exporters: one typed table each, which parses, validates, completes and documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from ..errors import UnsupportedError, UsageError, nearest
from ..golang.parsebool import parse_bool
from ..oci import platform as platforms
from ..oci.timestamp import EPOCHS

Kind = Literal["bool", "int", "string", "choice", "names", "epoch", "path", "annotation"]

_ANNOTATION = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)")
_GONE = ("buildinfo", "buildinfo-attrs")
_SCOPES = ("manifest", "manifest-descriptor", "index", "index-descriptor")


class Attribute(msgspec.Struct, frozen=True):
    """An attribute of `--output type=…,name=value`."""

    name: str
    kind: Kind
    default: Any
    """The value when the attribute is not given."""
    doc: str
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    elsewhere: tuple[str, ...] = ()
    """Values that BuildKit supports and the embedded builder does not."""

    def parse(self, text: str) -> Any:
        """Parse `text`. Raises ValueError with the end of a sentence that says what is expected."""
        match self.kind:
            case "bool":
                # BuildKit accepts the same values as Go's strconv.ParseBool, and a key without a value as true.
                truth = parse_bool(text or "true")
                if truth is None:
                    raise ValueError("true or false")
                return truth
            case "int":
                if not re.fullmatch(r"[+-]?\d{1,9}", text) or not self._in_range(int(text)):
                    raise ValueError(f"a number from {self.minimum} to {self.maximum}")
                return int(text)
            case "choice":
                if text in self.elsewhere:
                    raise UnsupportedError(
                        f"The embedded builder does not support {self.name}={text}, only {', '.join(self.choices)}.",
                        hint="Use --builder to build with a real BuildKit.",
                    )
                if text not in self.choices:
                    suggestion = nearest(text, self.choices)
                    hint = f" (did you mean {suggestion}?)" if suggestion else ""
                    raise ValueError(f"one of {', '.join(self.choices)}{hint}")
                return text
            case "names":
                return tuple(name.strip() for name in text.split(",") if name.strip())
            case "epoch":
                if text and not (re.fullmatch(r"-?\d{1,15}", text) and int(text) in EPOCHS):
                    raise ValueError("seconds since 1970, or nothing to keep times as they are")
                return Epoch(int(text) if text else None)
            case "string" | "path" | "annotation":
                return text

    def _in_range(self, number: int) -> bool:
        return (self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)


class Epoch(msgspec.Struct, frozen=True):
    """A given `source-date-epoch`: seconds since 1970, or None to keep times."""

    seconds: int | None


class Annotation(msgspec.Struct, frozen=True):
    """An `annotation…` attribute: its target, its platform ("" for all), and its value."""

    scope: str
    platform: str
    key: str
    value: str


class Values(msgspec.Struct, frozen=True):
    """The parsed attributes of an exporter: every name in its table has a value."""

    by_name: dict[str, Any]
    annotations: tuple[Annotation, ...] = ()
    explicit: frozenset[str] = frozenset()
    """The names given by the user, as opposed to defaults."""

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]

    def epoch(self, default: int | None) -> int | None:
        """Return the `source-date-epoch` in seconds: the attribute's, or the build's."""
        epoch: Epoch | None = self.by_name["source-date-epoch"]
        return default if epoch is None else epoch.seconds


def parse(owner: str, table: Iterable[Attribute], attrs: Mapping[str, str]) -> Values:
    """Check `attrs` against the `table` of `owner`, such as "oci exporter".

    Raises UsageError, in one line that names a similar attribute.
    """
    known = {attribute.name: attribute for attribute in table}
    annotated = any(attribute.kind == "annotation" for attribute in known.values())
    values = {name: attribute.default for name, attribute in known.items() if attribute.kind != "annotation"}
    annotations: list[Annotation] = []
    for name, text in attrs.items():
        if annotated and (match := _ANNOTATION.fullmatch(name)):
            annotations.append(_annotation(owner, name, match, text))
            continue
        attribute = known.get(name)
        if attribute is None:
            if name in _GONE:
                raise UnsupportedError(
                    f'"{name}" no longer exists in BuildKit.',
                    hint="Use --provenance, which records how the image was built.",
                )
            suggestion = nearest(name, list(values))
            raise UsageError(
                f'The {owner} has no attribute "{name}".',
                hint=f'Did you mean "{suggestion}"?'
                if suggestion
                else f"Use one of {', '.join(values)}."
                if values
                else "It has none.",
            )
        try:
            values[name] = attribute.parse(text)
        except ValueError as error:
            raise UsageError(f'"{name}={text}" of the {owner} must be {error}.') from None
    return Values(values, tuple(annotations), frozenset(attrs))


def _annotation(owner: str, name: str, match: re.Match[str], value: str) -> Annotation:
    scope = match[1] or "manifest"
    if scope not in _SCOPES:
        suggestion = nearest(scope, _SCOPES)
        raise UsageError(
            f'"{name}" of the {owner} is not an annotation that an image can have.',
            hint=f'Did you mean "annotation-{suggestion}.{match[3]}"?' if suggestion else "",
        )
    platform = platforms.normalise(platforms.parse(match[2])).full if match[2] else ""
    return Annotation(scope, platform, match[3], value)


def changed(table: tuple[Attribute, ...], **defaults: object) -> tuple[Attribute, ...]:
    """Return the table with other defaults."""
    return tuple(
        msgspec.structs.replace(attribute, default=defaults[attribute.name])
        if attribute.name in defaults
        else attribute
        for attribute in table
    )


EPOCH = Attribute("source-date-epoch", "epoch", None, "Latest time in the result, in seconds since 1970.")
DEST = Attribute("dest", "path", "", "Path to which the result is written.")
ATTESTATION_PREFIX = Attribute(
    "attestation-prefix", "string", "", "Prefix for the names of attestation files, if there are any."
)

IMAGE_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("name", "names", (), "Names of the image, comma-separated."),
    Attribute(
        "compression",
        "choice",
        "gzip",
        "How layers are compressed. Pulled layers of a base image keep their form, unless forced.",
        ("uncompressed", "gzip", "zstd"),
        elsewhere=("estargz",),
    ),
    Attribute(
        "compression-level", "int", None, "0 to 9 for gzip, 0 to 22 for zstd; more is smaller.", minimum=-2, maximum=22
    ),
    Attribute("force-compression", "bool", False, "Compress all layers again, including those of a base image."),
    Attribute("oci-mediatypes", "bool", True, "Use OCI's media types; false for Docker's."),
    Attribute("oci-artifact", "bool", True, "Write attestation manifests as OCI artifacts."),
    Attribute("attestation-inline", "bool", True, "Attach attestations to the image."),
    Attribute("prefer-nondist-layers", "bool", False, "Keep non-distributable layers of a base image as they are."),
    Attribute("rewrite-timestamp", "bool", False, "Rewrite times in layers that are later than source-date-epoch."),
    EPOCH,
    Attribute("annotation.KEY", "annotation", "", "An annotation of the manifest, or of annotation-SCOPE[PLATFORM]."),
)
"""The attributes of all exporters that make an image."""
