"""The commands of `%build` about builders: listing them and choosing one."""

from __future__ import annotations

from .. import builders
from ..display.table import Document, Table
from ..request.flags import ParsedFlags
from ..untrusted.redaction import redact
from .command import command


@command("builders")
def list_builders(_flags: ParsedFlags) -> Table:
    """List the builders within reach: embedded, Docker's contexts, buildx's builders, configured addresses."""
    from importlib.metadata import version

    from ..builders.buildkit.discover import names, probe_all
    from ..oci import platform

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


@command("use", "[NAME]", takes="one builder", hint="%build builders lists them.", names=("builder",))
def use(flags: ParsedFlags) -> Document:
    """Use a builder from now on; without a name, return to the default."""
    builder = builders.use(flags.arguments[0] if flags.arguments else "")
    name = redact(builder.name)
    where = "the embedded builder" if name == builder.driver == "embedded" else f"{name} ({builder.driver})"
    return Document((("", f"Builds now run on {where}."),))
