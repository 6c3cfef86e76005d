"""The runner of ops: from the inputs of a vertex to the snapshots of its outputs, in the caller's thread."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...cancel import Cancel
from ...errors import BuildError
from ...llb.ops import DiffOp, ExecOp, FileOp, MergeOp, Node, SourceOp
from ...session import Filter, Session
from ...status.report import VertexReport
from ...store import Store
from ...summary import RungSummary
from . import layerops
from .context import ContextTree, load_context
from .failed import FailedSteps
from .files.fileop import FileOpRun, Input
from .sandbox import Sandbox
from .sandbox.limits import NO_LIMITS, Limits
from .snapshot import Snapshot


class OpRunner:
    """Runs the ops of one build. It knows neither the graph nor its keys: it is given the inputs of each op."""

    def __init__(
        self,
        store: Store,
        sandbox: Sandbox,
        session: Session,
        cancel: Cancel,
        failed: FailedSteps | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        """Prepare the runner. `failed` keeps the files of failed steps; `limits` apply to each process."""
        self._store = store
        self._sandbox = sandbox
        self._session = session
        self._cancel = cancel
        self._failed = failed
        self._limits = limits
        self.rung: RungSummary | None = None
        """How RUN was run, once there was one."""

    def check(self, node: Node) -> None:
        """Raise the error with which a process would fail in this session and on this machine, whatever its inputs."""
        assert isinstance(node.op, ExecOp)
        from .execspec import ExecSpec

        inputs: list[Snapshot] = [()] * len(node.inputs)
        spec = ExecSpec(self._store, self._session, node.op, inputs, self._cancel).outline()
        self._sandbox.check(msgspec.structs.replace(spec, limits=self._limits))

    def passed(self, nodes: Sequence[Node]) -> int:
        """Return how many processes, from the first on, `check` lets pass."""
        for number, node in enumerate(nodes):
            try:
                self.check(node)
            except BuildError:
                return number
        return len(nodes)

    def load_directory(self, op: SourceOp, report: VertexReport) -> ContextTree:
        """Return the wanted files of a local directory of the session."""
        name = op.identifier.removeprefix("local://")
        source = self._session.local_dirs.get(name)
        if source is None:
            raise BuildError(f"no access allowed to dir {name!r}", hint="Pass the context to the build.")
        selection = Filter(
            _patterns(op, "local.includepattern"),
            _patterns(op, "local.excludepatterns"),
            _patterns(op, "local.followpaths"),
        )
        with report.step(f"transferring {name}:") as transfer:
            return load_context(source, selection, self._store, self._cancel, transfer.update)

    def run_file_op(self, op: FileOp, inputs: Sequence[Input], report: VertexReport) -> Sequence[Snapshot]:
        """Return the snapshots that COPY, ADD, WORKDIR and similar make from the trees of their inputs."""
        return FileOpRun(self._store, op, inputs, self._cancel, report).run()

    def run(self, node: Node, inputs: Sequence[Snapshot], report: VertexReport) -> Sequence[Snapshot]:
        """Return the snapshots that a merge, a difference or a process makes from the snapshots of its inputs.

        All ops except a merge read the layers of their inputs, which must be in the store.
        """
        op = node.op
        if isinstance(op, MergeOp):
            return [layerops.merge(inputs)]
        if isinstance(op, DiffOp):
            return [layerops.diff(self._store, op, inputs, self._cancel)]
        assert isinstance(op, ExecOp)
        from .execop import ExecRun

        self._tell_rung(report)
        execution = ExecRun(self._store, self._sandbox, self._session, node, inputs, report, self._cancel, self._failed)
        return execution.run(self._limits)

    def _tell_rung(self, report: VertexReport) -> None:
        """Report the rung at the first RUN of a build."""
        rung = self._sandbox.rung
        if self.rung is None and rung is not None:
            self.rung = RungSummary(number=rung.number, name=rung.name, lacks=rung.lacks)
            report.status(f"run on rung {rung.number}: {rung.name}")


def _patterns(op: SourceOp, name: str) -> tuple[str, ...]:
    text = op.attrs.get(name, "")
    return msgspec.json.decode(text, type=tuple[str, ...]) if text else ()
