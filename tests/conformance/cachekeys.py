"""BuildKit's cache records of a case beside ours: the same keys, so that each finds what the other has exported."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pybuild_magic.api import run as api
from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.cache.records import Record, decode_config
from pybuild_magic.cancel import Cancel
from pybuild_magic.request.parse import parse_options
from pybuild_magic.request.solve_request import compile_request

from .answer import write_whole
from .builders import Reference, made
from .case import Case
from .server import Site

EXPLAINED = {
    "copy/xattrs": "Other extended attributes than capabilities are no part of a context here, and so of no key",
}
"""Cases whose keys differ, and why."""

FORM = 1
"""Goes up when kept configs no longer mean the same."""


class Key(msgspec.Struct, frozen=True):
    """A record by its digest, and for each input (digest, selector) of the records that it may be."""

    digest: str
    inputs: tuple[frozenset[tuple[str, str]], ...] = ()


def keys(records: Sequence[Record]) -> list[Key]:
    """The keys of records."""
    return [
        Key(
            record.digest,
            tuple(frozenset((records[link.source].digest, link.selector) for link in ways) for ways in record.inputs),
        )
        for record in records
    ]


def theirs(reference: Reference, case: Case, site: Site) -> list[Key] | None:
    """The keys that BuildKit exports for a case, which are kept as its answers are; None when it refuses the case."""
    kept = reference.folder / f"{case.digest}.cache-{FORM}.json"
    if kept.exists():
        config = json.loads(kept.read_bytes())
    else:
        config = _export(reference, case, site)
        write_whole(kept, json.dumps(config).encode())
    return None if config is None else keys(decode_config(config.encode()))


def _export(reference: Reference, case: Case, site: Site) -> str | None:
    with made(case, site, case.instead) as (arguments, archive):
        dest = archive.parent / "cache"
        own = [f"--cache-to=type=local,dest={dest},mode=max,compression=uncompressed", "--output=type=cacheonly"]
        rest = [argument for argument in arguments if not argument.startswith("--output")]
        command = ["buildx", "build", "--provenance=false", *own, *rest]
        env = {"SOURCE_DATE_EPOCH": str(case.epoch)}
        if reference.engine.docker(*command, env=env, check=False).returncode:
            return None
        return config_of(dest)


def config_of(directory: Path) -> str:
    """The config of a cache in a directory; that of an empty one when nothing was exported."""
    if not (directory / "index.json").exists():
        return "{}"
    index = json.loads((directory / "index.json").read_bytes())
    manifest = json.loads(_blob(directory, index["manifests"][0]["digest"]))
    return _blob(directory, manifest["config"]["digest"]).decode()


def _blob(directory: Path, digest: str) -> bytes:
    return (directory / "blobs" / digest.replace(":", "/")).read_bytes()


def ours(builder: EmbeddedBuilder, case: Case, site: Site) -> list[Key]:
    """The keys that the embedded builder exports. Raises BuildError."""
    with made(case, site) as (arguments, archive):
        dest = archive.parent / "cache"
        own = [f"--cache-to=type=local,dest={dest},mode=max,compression=uncompressed", "--output=type=cacheonly"]
        rest = [argument for argument in arguments if not argument.startswith("--output")]
        options = parse_options([*own, *rest], environ={**os.environ, "SOURCE_DATE_EPOCH": str(case.epoch)})
        session = api.open_session(options, builder.driver)
        request = compile_request(options, builder.driver, session=session.id)
        attrs = {"image-resolve-mode": "local", **request.frontend_attrs}
        builder.solve(msgspec.structs.replace(request, frontend_attrs=attrs), session, lambda _: None, Cancel())
        return keys(decode_config(config_of(dest).encode()))


def differing(theirs: Sequence[Key], ours: Sequence[Key]) -> list[str]:
    """The steps that one has and the other would not find, in words.

    Each knows a step by what made its inputs and by what they hold; one way that both know, for each input, is
    enough. BuildKit's records may have more: what its engine knows from other builds.
    """

    def unknown(keys: Sequence[Key], to: Sequence[Key]) -> list[Key]:
        return [key for key in keys if key.inputs and not any(_meet(key, other) for other in to)]

    return [
        *(f"only BuildKit has {key}" for key in unknown(theirs, ours)),
        *(f"only we have {key}" for key in unknown(ours, theirs)),
    ]


def _meet(one: Key, other: Key) -> bool:
    return (
        one.digest == other.digest
        and len(one.inputs) == len(other.inputs)
        and all(ways & others for ways, others in zip(one.inputs, other.inputs, strict=True))
    )
