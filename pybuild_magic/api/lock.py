"""Lock files: the digests of a Dockerfile's sources, in a file beside it, and builds that accept nothing else.

A lock is a BuildKit source policy, so that `EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=Dockerfile.lock docker buildx build`
enforces it as well.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..builders import embedded_builder
from ..builders.embedded.pins import Unlocked
from ..cancel import Cancel
from ..errors import unwritable
from ..llb.sourcepolicy import Constraint, Rule, Selector, SourcePolicy
from ..request.lockfile import lock_path
from ..request.options import BuildOptions
from ..request.solve_request import compile_request
from .run import Progress, open_session, show

_LOCKED = (
    Rule(Selector("^docker-image://[^@]*$", "REGEX"), "DENY"),
    Rule(Selector("^docker-image://docker.io/docker/dockerfile(-upstream)?:[^@]*$", "REGEX"), "ALLOW"),
    Rule(Selector("^https?://", "REGEX", (Constraint("http.checksum"),)), "DENY"),
    Rule(Selector("^git://", "REGEX"), "DENY"),
    Rule(Selector("^git://", "REGEX", (Constraint("git.checksum", "^[0-9a-f]{40}", "MATCHES"),)), "ALLOW"),
    Rule(Selector("^git://[^#]*#[0-9a-f]{40}", "REGEX"), "ALLOW"),
)
"""The rules before those that pin: a source that no later rule pins has changed since the lock, and is denied.

The front end that a `# syntax` line names is allowed, because none of it ends up in the image.
"""


class Lock(msgspec.Struct, frozen=True):
    """The locked sources, and the file that they were written to."""

    path: Path
    rules: tuple[Rule, ...]
    unlocked: tuple[Unlocked, ...]


def lock(options: BuildOptions, progress: Progress | None = None, cancel: Cancel | None = None) -> Lock:
    """Write the present digests of a Dockerfile's sources to the file beside it. Raises BuildError."""
    cancel = cancel or Cancel()
    path = lock_path(options)
    builder = embedded_builder()
    session = open_session(options, builder.driver)
    request = compile_request(options, builder.driver, session=session.id)
    rules, unlocked = show(lambda sink: builder.pins(request, session, sink, cancel), progress, cancel)
    written = Lock(path, tuple(rules), tuple(unlocked))
    try:
        path.write_bytes(_encode(written))
    except OSError as error:
        raise unwritable(path, error) from error
    return written


def _encode(lock: Lock) -> bytes:
    policy = SourcePolicy((*_LOCKED, *lock.rules))
    steps = [
        {"step": step.step, "line": step.location.start if step.location else 0, "advice": step.advice}
        for step in lock.unlocked
    ]
    document = {"version": policy.version, "rules": msgspec.to_builtins(policy.rules), "unlocked": steps}
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
