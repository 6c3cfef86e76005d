"""The commands of `%build` about builders: which there are, and which one is used."""

from __future__ import annotations

from collections.abc import Sequence

from .. import builders
from ..display.table import Document, Table
from ..errors import UsageError
from ..untrusted.redaction import redact


def list_builders(words: Sequence[str]) -> Table:
    """List the builders within reach: embedded, Docker's contexts, buildx's builders, configured addresses."""
    from importlib.metadata import version

    from ..builders.buildkit.discover import names, probe_all
    from ..oci import platform

    if words:
        raise UsageError(f"%build builders takes no {words[0]}.")
    used = builders.default_name()
    host = platform.host()
    rows = [(builders.EMBEDDED, builders.EMBEDDED, "running", version("pybuild_magic"), str(host))]
    known = names()
    if used not in (builders.EMBEDDED, *known):
        known.append(used)
    rows += [
        (builder.name, builder.driver, builder.status, builder.version, ", ".join(builder.platforms))
        for builder in probe_all(known)
    ]
    marked = tuple((redact(name) + " *" * (name == used), *map(redact, rest)) for name, *rest in rows)
    return Table(
        ("NAME", "DRIVER", "STATUS", "BUILDKIT", "PLATFORMS"),
        marked,
        "* is the builder that is used without --builder.",
    )


def use(words: Sequence[str]) -> Document:
    """Use a builder from now on; without a name, return to the default."""
    if len(words) > 1:
        raise UsageError("%build use takes one builder.", hint="%build builders lists them.")
    builder = builders.use(words[0] if words else "")
    return Document((("", f"Builds now run on {redact(builder.name)} ({builder.driver})."),))
