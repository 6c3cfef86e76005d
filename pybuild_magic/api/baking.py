"""The builds of a Bake file: those that do not depend on each other run at the same time, in a single display.

A target that another one names as a context (`target:NAME`) is built first and handed over as an OCI layout, which has
its config as well as its files.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import msgspec

from ..builders import choose
from ..cancel import Cancel
from ..errors import BuildError, Interrupted
from ..request.flags import truth
from ..request.options import BuildOptions
from ..request.outputs import Output
from ..request.parts import default_outputs
from ..result import BuildResult
from ..status.messages import SolveStatus, StatusSink, Vertex
from ..status.trace import Trace
from ..temporary import temporary_directory
from .bake import BakePlan, options_of
from .run import Progress, run, show

_MOST = 8
"""The maximum number of builds at the same time, since each has its own descriptors and threads."""
_EPOCH = "SOURCE_DATE_EPOCH"
_NONE = "cacheonly"


def bake(
    plan: BakePlan, flags: Sequence[str] = (), progress: Progress | None = None, cancel: Cancel | None = None
) -> dict[str, BuildResult]:
    """Build the targets of a plan, each with additional `flags` of a build, and return their results by name.

    `progress` shows all of them. When a target fails, the others are cancelled. Raises the BuildError of the first
    failure, with the name of the target.
    """
    cancel = cancel or Cancel()
    return show(lambda sink: _Oven(plan, flags, sink, cancel).bake(), progress, cancel)


class _Oven:
    """The builds that are running."""

    def __init__(self, plan: BakePlan, flags: Sequence[str], sink: StatusSink, cancel: Cancel) -> None:
        self._plan = plan
        self._flags = flags
        self._cancel = cancel
        self._stop = Cancel()
        """Also set when a target fails."""
        self._rows = _Rows(sink, named=len(plan.targets) > 1)

    def bake(self) -> dict[str, BuildResult]:
        needed = self._plan.needed()
        results: dict[str, BuildResult] = {}
        waiting = self._plan.order()
        running: dict[Future[BuildResult], str] = {}
        with (
            temporary_directory("pybuild-bake-") as scratch,
            self._cancel.on_cancel(self._stop.cancel),
            ThreadPoolExecutor(_MOST, thread_name_prefix="pybuild-bake") as pool,
        ):
            scratch_path = Path(scratch)
            try:
                while waiting or running:
                    for name in [name for name in waiting if needed[name] <= results.keys()]:
                        waiting.remove(name)
                        running[pool.submit(self._build, name, scratch_path)] = name
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        results[running.pop(done)] = done.result()
            except BaseException as error:
                self._stop.cancel()
                raise _cause(error, list(running)) from None
        return {name: results[name] for name in self._plan.order()}

    def _build(self, name: str, scratch: Path) -> BuildResult:
        self._stop.check()
        try:
            epoch = self._epoch(name)
            layouts = {other: _layout(scratch, other, epoch) for other in self._plan.needed()[name]}
            options = options_of(name, self._plan, layouts, self._flags)
            wanted = {
                cut: _layout(scratch, name, cut) for cut in self._users_epochs(name) if options.call.method == "build"
            }
            options = _handed_over(options, wanted)
            result = run(options, _Part(name, self._rows), self._stop)
            if wanted and not any(output.exporter.image for output in options.outputs[len(wanted) :]):
                # Nobody has asked for the image that is handed over.
                _forget_image(result.metadata)
            return result
        except Exception as error:
            error.add_note(f"while the target {name} was built")
            raise

    def _epoch(self, name: str) -> str:
        """Return the time to which the layers that a target uses are cut; "" to keep their times.

        BuildKit rewrites all layers that one solve has made, those of the targets that it uses among them.
        """
        target = self._plan.targets[name]
        rewrites = any(
            truth(str(output.get("rewrite-timestamp", "false")).lower(), "rewrite-timestamp")
            for output in target.get("output", [])
        )
        if rewrites:
            return target.get("args", {}).get(_EPOCH) or os.environ.get(_EPOCH, "")
        return next(filter(None, self._users_epochs(name)), "")

    def _users_epochs(self, name: str) -> list[str]:
        """Return the times to which the layers of a target are cut for those that use it, each once."""
        users = [user for user, needed in self._plan.needed().items() if name in needed]
        return list(dict.fromkeys(map(self._epoch, users)))


def _layout(scratch: Path, name: str, epoch: str) -> str:
    """Return the place in which a target is handed over with its layers cut to a time."""
    return str(scratch / f"to-{epoch}" / name)


def _handed_over(options: BuildOptions, layouts: Mapping[str, str]) -> BuildOptions:
    """Return the options with layouts, by their times, as the first outputs; what was there stays, the default too."""
    if not layouts:
        return options
    outputs: list[Output] = []
    for epoch, layout in layouts.items():
        cut = {"rewrite-timestamp": "true", "source-date-epoch": epoch} if epoch else {}
        outputs.append(Output("oci", {"tar": "false", "compression": "uncompressed", **cut}, layout))
    others = (output for output in default_outputs(options, choose(options.builder).driver) if output.type != _NONE)
    return msgspec.structs.replace(options, outputs=(*outputs, *others))


def _forget_image(metadata: dict[str, Any]) -> None:
    for key in [key for key in metadata if key.startswith(("containerimage.", "image."))]:
        del metadata[key]


def _cause(error: BaseException, others: Sequence[Future[BuildResult]]) -> BaseException:
    """Return the error that ended the builds: that of the build that failed, not of one that was stopped for it."""
    if isinstance(error, Interrupted):
        for other in wait(others).done:
            failure = other.exception()
            if isinstance(failure, BuildError) and not isinstance(failure, Interrupted):
                return failure
    return error


class _Part:
    """The progress of one target, which is shown together with that of the others."""

    def __init__(self, name: str, rows: _Rows) -> None:
        self._name = name
        self._rows = rows

    def update(self, status: SolveStatus) -> None:
        """Pass the status on."""
        self._rows.take(self._name, status)

    def tick(self, trace: Trace) -> None:
        """Do nothing, since one display shows all targets."""

    def finish(self, trace: Trace, error: BuildError | None, result: BuildResult | None = None) -> None:
        """Do nothing, since one display shows the end of all targets."""


class _Rows:
    """Merges the status streams of several builds into one, with the target in the names of steps, as in buildx.

    A step that targets share has one row, which belongs to the target that it is run for.
    """

    def __init__(self, sink: StatusSink, *, named: bool) -> None:
        self._sink = sink
        self._named = named
        self._lock = threading.Lock()
        self._owners: dict[str, tuple[str, bool]] = {}
        """By digest: the target whose row it is, and whether it is run for that target."""
        self._private: set[tuple[str, str]] = set()

    def take(self, target: str, status: SolveStatus) -> None:
        """Pass on whatever is new, in the order in which it arrives."""
        if not self._named:
            self._sink(status)
            return
        with self._lock:
            vertexes = tuple(self._vertex(target, vertex) for vertex in status.vertexes if self._owned(target, vertex))
            self._sink(
                SolveStatus(
                    vertexes=vertexes,
                    statuses=tuple(
                        msgspec.structs.replace(part, vertex=self._digest(target, part.vertex))
                        for part in status.statuses
                        if self._shows(target, part.vertex)
                    ),
                    logs=tuple(
                        msgspec.structs.replace(log, vertex=self._digest(target, log.vertex))
                        for log in status.logs
                        if self._shows(target, log.vertex)
                    ),
                    warnings=tuple(
                        msgspec.structs.replace(warning, vertex=self._digest(target, warning.vertex))
                        for warning in status.warnings
                    ),
                )
            )

    def _owned(self, target: str, vertex: Vertex) -> bool:
        if not vertex.name.startswith("[") or vertex.name.startswith(("[internal]", "[auth]")):
            self._private.add((target, vertex.digest))
            return True
        owner, runs = self._owners.get(vertex.digest, (target, False))
        if owner != target and (runs or vertex.cached or vertex.started is None):
            return False
        self._owners[vertex.digest] = target, vertex.started is not None and not vertex.cached
        return True

    def _shows(self, target: str, digest: str) -> bool:
        return self._owners.get(digest, (target, False))[0] == target

    def _digest(self, target: str, digest: str) -> str:
        """Return the digest of a row; a step that each target does for itself has a digest for each."""
        if (target, digest) not in self._private:
            return digest
        return "sha256:" + hashlib.sha256(f"{target} {digest}".encode()).hexdigest()

    def _vertex(self, target: str, vertex: Vertex) -> Vertex:
        name = vertex.name
        return msgspec.structs.replace(
            vertex,
            digest=self._digest(target, vertex.digest),
            name=f"[{target} {name[1:]}" if name.startswith("[") else f"[{target}] {name}",
            inputs=tuple(self._digest(target, digest) for digest in vertex.inputs),
        )
