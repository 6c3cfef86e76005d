"""`%build lock` and `%%build lock`: the current sources of a Dockerfile, recorded for later builds."""

from __future__ import annotations

from collections.abc import Sequence

from ..api.lock import Lock
from ..api.lock import lock as write_lock
from ..cancel import Cancel
from ..display import open_progress
from ..display.table import Table
from ..request.flags import ParsedFlags, parse_flags
from ..request.options import BuildOptions, Context
from ..request.parse import options_from
from ..request.table import OPTIONS
from ..untrusted.redaction import redact
from .command import command


@command("lock", "[CONTEXT]", takes="one context", names=("folder",), flags=OPTIONS)
def lock(flags: ParsedFlags) -> Table:
    """Record the current digests of a Dockerfile's sources for --locked."""
    return lock_with(options_from(flags))


def lock_dockerfile(words: Sequence[str], dockerfile: str | None = None, context: Context = None) -> Table:
    """Lock the Dockerfile that the words name, or whose text is given. Raises BuildError."""
    return lock_with(options_from(parse_flags(words, OPTIONS), dockerfile=dockerfile, context=context))


def lock_with(options: BuildOptions) -> Table:
    """Lock the sources of the build that the options describe, and return a report."""
    cancel = Cancel()
    return describe(write_lock(options, open_progress(options, cancel), cancel))


def describe(lock: Lock) -> Table:
    """Return a table with a row for each source, then one for each step whose input cannot be locked."""
    rows = [(redact(rule.selector.identifier), _pinned_to(rule.updates.identifier, rule.updates.attrs))
            for rule in lock.rules if rule.updates]  # fmt: skip
    rows += [(step.step, f"not locked: {step.advice}") for step in lock.unlocked]
    return Table(("SOURCE", "LOCKED TO"), tuple(rows), f"Wrote {lock.path}. Build with --locked to use it.")


def _pinned_to(identifier: str, attrs: dict[str, str]) -> str:
    at = attrs.get("http.checksum") or identifier.partition("@")[2] or identifier.partition("#")[2].partition(":")[0]
    return at or redact(identifier)
