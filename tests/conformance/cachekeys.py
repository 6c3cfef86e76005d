"""BuildKit's cache records of a case beside ours: the same keys, so that each finds what the other has exported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.cache.records import Record, decode_config
from pybuild_magic.oci.layout import LAYOUT, LAYOUT_FILE

from .answer import write_whole
from .builders import Reference, build_case, made
from .case import Case
from .server import Site

FORM = 2
"""Goes up when kept caches no longer mean the same."""


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
    """The keys that BuildKit exports for a case; None when it refuses the case."""
    manifest = exported(reference, case, site)
    return None if manifest is None else keys(decode_config(config_of(layout(reference), manifest)))


def layout(reference: Reference) -> Path:
    """The directory of all caches that BuildKit has exported, an OCI image layout."""
    return reference.folder / f"caches-{FORM}"


def exported(reference: Reference, case: Case, site: Site) -> str | None:
    """The digest in `layout` of the cache that BuildKit exports for a case, "" for an empty one.

    It is kept as answers are. None when BuildKit refuses the case.
    """
    kept = layout(reference) / f"{case.digest}.json"
    if not kept.exists():
        write_whole(kept, json.dumps(_export(reference, case, site)).encode())
    return json.loads(kept.read_bytes())


def _export(reference: Reference, case: Case, site: Site) -> str | None:
    with made(case, site, case.instead) as (arguments, archive):
        dest = archive.parent / "cache"
        command = ["buildx", "build", "--provenance=false", *exporting(arguments, dest)]
        env = {"SOURCE_DATE_EPOCH": str(case.epoch)}
        if reference.engine.docker(*command, env=env, check=False).returncode:
            return None
        digest = manifest_of(dest)
        if digest:
            for blob in (dest / "blobs/sha256").iterdir():
                write_whole(layout(reference) / "blobs/sha256" / blob.name, blob.read_bytes())
            write_whole(layout(reference) / LAYOUT_FILE, LAYOUT)
        return digest


def exporting(arguments: Sequence[str], dest: Path) -> list[str]:
    """The arguments of a case's build that exports all of its cache to a directory, and nothing else."""
    rest = [argument for argument in arguments if not argument.startswith("--output")]
    return [f"--cache-to=type=local,dest={dest},mode=max,compression=uncompressed", "--output=type=cacheonly", *rest]


def manifest_of(directory: Path) -> str:
    """The digest of the cache in a directory; "" when nothing was exported."""
    if not (directory / "index.json").exists():
        return ""
    return json.loads((directory / "index.json").read_bytes())["manifests"][0]["digest"]


def config_of(directory: Path, manifest: str) -> bytes:
    """The config of a cache in a directory; that of an empty one for ""."""
    return _blob(directory, json.loads(_blob(directory, manifest))["config"]["digest"]) if manifest else b"{}"


def _blob(directory: Path, digest: str) -> bytes:
    return (directory / "blobs" / digest.replace(":", "/")).read_bytes()


def ours(builder: EmbeddedBuilder, case: Case, site: Site) -> list[Key]:
    """The keys that the embedded builder exports. Raises BuildError."""
    with made(case, site) as (arguments, archive):
        dest = archive.parent / "cache"
        build_case(builder, exporting(arguments, dest), case)
        return keys(decode_config(config_of(dest, manifest_of(dest))))


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
