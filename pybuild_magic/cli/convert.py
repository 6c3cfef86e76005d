"""`pybuild convert`: an image copied from one place to another."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from ..api.run import watch
from ..builders import embedded_builder
from ..cancel import Cancel
from ..display.plain import Plain
from ..errors import UsageError
from ..request.flags import Flag, Kind, ParsedFlags, parse_flags
from ..session.auth import DockerAuth

FLAGS: tuple[Flag, ...] = (
    Flag(
        "compression",
        Kind.ONE,
        "TYPE",
        "Pack layers anew: digests change",
        choices=("uncompressed", "gzip", "zstd", "estargz"),
    ),
    Flag("platform", Kind.ONE, "OS/ARCH", "Copy only this platform; else all that are there"),
    Flag("quiet", Kind.BOOL, "", "Print only the digest", short="q"),
)


def convert(words: Sequence[str]) -> int:
    """Copy an image; prints its digest. Raises BuildError."""
    from ..api.copy import copy_image, parse_location

    flags = parse_flags(words, FLAGS)
    if len(flags.arguments) != 2:
        raise UsageError(
            "pybuild convert takes a source and a destination.",
            hint="Such as docker://NAME, oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE:NAME, docker-daemon:NAME "
            "or the NAME of an image of the store.",
        )
    source, dest = map(parse_location, flags.arguments)
    cancel = Cancel()
    copy = partial(
        copy_image,
        embedded_builder().store,
        source,
        dest,
        DockerAuth(),
        cancel,
        platform=_last(flags, "platform"),
        compression=_last(flags, "compression"),
    )
    shown = None if flags.on("quiet") else Plain(sys.stderr.write)
    print(watch(f"copying {flags.arguments[0]} to {flags.arguments[1]}", copy, shown, cancel))
    return 0


def _last(flags: ParsedFlags, name: str) -> str:
    return flags.values.get(name, [""])[-1]
