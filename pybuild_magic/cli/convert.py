"""`pybuild convert`: copies an image from one place to another."""

from __future__ import annotations

import sys
from functools import partial

from ..api.run import watch
from ..builders import embedded_builder
from ..cancel import Cancel
from ..display.plain import Plain
from ..notebook.command import Syntax
from ..request.flags import Flag, Kind, ParsedFlags
from ..session.auth import DockerAuth

_FLAGS: tuple[Flag, ...] = (
    Flag(
        "compression",
        Kind.ONE,
        "TYPE",
        "Compress layers again, which changes digests",
        choices=("uncompressed", "gzip", "zstd", "estargz"),
    ),
    Flag("platform", Kind.ONE, "OS/ARCH", "Copy only this platform, instead of all of them"),
    Flag("quiet", Kind.BOOL, "", "Print only the digest", short="q"),
)


SYNTAX = Syntax(
    arguments="SOURCE DEST",
    takes="a source and a destination",
    hint="Write each as docker://NAME, oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE:NAME, docker-daemon:NAME "
    "or the NAME of an image of the store.",
    names=("image", "file"),
    flags=_FLAGS,
)


def convert(flags: ParsedFlags) -> int:
    """Copy an image, and print its digest. Raises BuildError."""
    from ..api.copy import copy_image, parse_location

    source, dest = map(parse_location, flags.arguments)
    cancel = Cancel()
    copy = partial(
        copy_image,
        embedded_builder().store,
        source,
        dest,
        DockerAuth(),
        cancel,
        platform=flags.last("platform"),
        compression=flags.last("compression"),
    )
    progress = None if flags.on("quiet") else Plain(sys.stderr.write)
    print(watch(f"copying {flags.arguments[0]} to {flags.arguments[1]}", copy, progress, cancel))
    return 0
