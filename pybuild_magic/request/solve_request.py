"""BuildOptions to SolveRequest: the message that is sent to a builder, the same for every builder. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import msgspec

from ..errors import UsageError
from ..golang.parsebool import parse_bool
from ..llb.sourcepolicy import SourcePolicy
from ..untrusted.redaction import redact_data
from .options import BuildOptions
from .outputs import EXPORTERS
from .parts import Build, Part
from .table import OPTIONS
from .values import CacheEntry


class ExporterEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """One exporter of a request. It writes to the session's sink with the same `id`."""

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
    source_policy: SourcePolicy | msgspec.UnsetType = msgspec.UNSET

    def to_json(self) -> str:
        """Return the request as people read it: indented JSON with BuildKit's field names, redacted."""
        return msgspec.json.format(msgspec.json.encode(self.redacted(), order="sorted"), indent=2).decode()

    def with_attrs(self, attrs: dict[str, str]) -> SolveRequest:
        """Return the request with more front-end attributes."""
        return msgspec.structs.replace(self, frontend_attrs={**self.frontend_attrs, **attrs})

    def redacted(self) -> SolveRequest:
        """Return the request as it is kept and shown: without the credentials of URLs."""
        return msgspec.convert(redact_data(msgspec.to_builtins(self)), SolveRequest)


def compile_request(
    options: BuildOptions, driver: str = "embedded", *, session: str = "", policy: SourcePolicy | None = None
) -> SolveRequest:
    """Return the request that `options` mean for a builder of the kind `driver`: the parts of all options.

    `policy` is the source policy in the user's files.

    Raises `UsageError` for combinations that no builder can do, such as a push without a name.
    """
    build = Build(options, driver)
    parts = [option.compile(build) for option in OPTIONS]
    return SolveRequest(
        ref=secrets.token_hex(12),
        session=session,
        frontend_attrs={name: value for part in parts for name, value in part.attrs.items()},
        exporters=tuple(_exporters(parts)),
        cache=CacheOptions(
            tuple(cache for part in parts for cache in part.imports),
            tuple(cache for part in parts for cache in part.exports),
        ),
        entitlements=tuple(dict.fromkeys(name for part in parts for name in part.entitlements)),
        source_policy=msgspec.UNSET if policy is None else policy,
    )


def _exporters(parts: list[Part]) -> Iterable[ExporterEntry]:
    image = {name: value for part in parts for name, value in part.image.items()}
    for number, output in ((number, output) for part in parts for number, output in part.outputs.items()):
        kind, attrs = output.type, dict(output.attrs)
        if kind == "registry":
            kind, attrs = "image", {"unpack": "false", **attrs, "push": "true"}
        if EXPORTERS[kind].image:
            attrs |= image
        if kind == "image" and parse_bool(attrs.get("push", "")) and not attrs.get("name"):
            raise UsageError("A push needs a name to push to.", hint="Add -t NAME.")
        yield ExporterEntry(kind, attrs, number)
