"""ExecOp: a process in a sandbox, with BuildKit's mounts, whose changes become a layer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...cancel import Cancel
from ...errors import RunError
from ...golang.text import quote
from ...llb.ops import NO_OUTPUT, ExecOp, Mount, MountType, Node, has_output
from ...session import Session
from ...status.report import VertexReport
from ...status.trace import LastLines
from ...store import Store
from .accounts import AccountError
from .execspec import ExecSpec, root_of
from .failed import FailedStep, FailedSteps, holds
from .sandbox import RunOutcome, RunSpec, Sandbox
from .sandbox.limits import NO_LIMITS, NONE_REACHED, Limits, Reached
from .snapshot import Snapshot

LAST_LINES = 20
"""The number of last output lines that an error carries."""
MAX_STEP_LOG = 8 << 20
"""The most bytes of a step's log that are passed on. BuildKit's limit is a quarter of it, and drops the end as well."""
_LAST_BYTES = 64 << 10
"""The bytes at the end of a longer log that are passed on when the step has ended."""


_KILLED = 128 + 9
_LESS = "Make the step need less, or allow more: `--resource memory=SIZE`, `%build doctor`."


class ExecRun:
    """One execution of an ExecOp.

    `inputs` are the snapshots of the node's inputs; `failed` keeps the files of a process that failed.
    """

    def __init__(
        self,
        store: Store,
        sandbox: Sandbox,
        session: Session,
        node: Node,
        inputs: Sequence[Snapshot],
        report: VertexReport,
        cancel: Cancel,
        failed: FailedSteps | None = None,
    ) -> None:
        assert isinstance(node.op, ExecOp)
        self._sandbox = sandbox
        self._session = session
        self._node = node
        self._op = node.op
        self._inputs = tuple(inputs)
        self._spec = ExecSpec(store, session, node.op, inputs, cancel)
        self._failed_steps = failed
        self._report = report
        self._cancel = cancel
        self._tail = LastLines(LAST_LINES)
        self._printed = _Printed(report)

    def run(self, limits: Limits = NO_LIMITS) -> list[Snapshot]:
        """Return the snapshot of each output. Raises `RunError`, with the last output lines, when the process fails."""
        op = self._op
        root = root_of(op)
        with self._spec.opened() as spec:
            if any("\0" in text for text in (*spec.args, *spec.env)):
                raise self._failed(255)  # as runc, which no kernel lets run it
            try:
                spec = msgspec.structs.replace(spec, limits=limits)
                outcome = self._sandbox.run(spec, self._output, self._cancel)
                self._warn(outcome.warnings)
            except AccountError as error:
                error.message = f"{self._said()}: {error.message}"
                raise
            finally:
                self._printed.end()
            return self._finish(outcome, root, _secrets(spec, self._op))

    def _warn(self, warnings: Sequence[str]) -> None:
        where = self._node.location
        for text in warnings:
            self._report.warn(
                text,
                filename=where.filename if where else "",
                start=where.start if where else 0,
                end=where.end if where else 0,
            )

    def _finish(self, outcome: RunOutcome, root: Mount, secrets: list[bytes]) -> list[Snapshot]:
        valid = self._op.meta.valid_exit_codes or (0,)
        if outcome.exit_code not in valid:
            error = self._failed(outcome.exit_code, outcome.error, outcome.reached)
            error.step_ref = self._keep(outcome, root, secrets)
            raise error
        self._warn(outcome.reached.sentences)
        layers: dict[int, str] = {}
        try:
            for number, changes in outcome.outputs.items():
                layers[number] = self._sandbox.commit_mount(changes, self._cancel).diff_id
        except BaseException:
            self._sandbox.discard(outcome)
            raise
        if root.output == NO_OUTPUT:
            self._sandbox.discard(outcome)
        else:
            layers[self._op.mounts.index(root)] = self._sandbox.commit(outcome, self._cancel).diff_id
        return [
            (*self._spec.input(mount.input), *([layers[number]] if number in layers else []))
            for number, mount in enumerate(self._op.mounts)
            if has_output(mount)
        ]

    def _keep(self, outcome: RunOutcome, root: Mount, secrets: list[bytes]) -> str:
        """Keep the files of a failed process for later inspection; return their key, or "" when they are not kept.

        They are not kept if the process wrote a secret into them: the next build would have removed that.
        """
        if self._failed_steps is None or holds(outcome.work / "fs", secrets):
            self._sandbox.discard(outcome)
            return ""
        step = FailedStep(self._node.name, self._op, self._inputs, self._spec.input(root.input), outcome.exit_code)
        return self._failed_steps.keep(step, outcome, self._session, self._cancel)

    def _said(self) -> str:
        return f"process {quote(' '.join(self._op.meta.args))} did not complete successfully"

    def _failed(self, exit_code: int, error: str = "", reached: Reached = NONE_REACHED) -> RunError:
        sentences = reached.sentences
        how = f"exit code: {exit_code}{': ' if error else ''}{error}"
        if exit_code == _KILLED and reached.memory:
            how = "cannot allocate memory"  # as BuildKit says it where cgroups are of version 2
        return RunError(
            f"{self._said()}: {how}",
            exit_code,
            location=self._node.location,
            hint=" ".join((*sentences, _LESS)) if sentences else "",
            logs=self._tail.lines(),
        )

    def _output(self, stream: int, data: bytes) -> None:
        self._tail.add(data)
        self._printed.add(data, stream)


def _secrets(spec: RunSpec, op: ExecOp) -> list[bytes]:
    """Return the values of the secrets that a process could read."""
    names = {secret.name for secret in op.secretenv}
    values = [mount.data for mount in spec.mounts if mount.kind is MountType.SECRET]
    values += [value.encode() for name, _, value in (text.partition("=") for text in spec.env) if name in names]
    return [value.strip() for value in values if value.strip()]


class _Printed:
    """Passes on a step's output: the beginning and the end of a long one, with the number of bytes left out."""

    def __init__(self, report: VertexReport) -> None:
        self._report = report
        self._size = 0
        self._end = bytearray()
        self._stream = 1

    def add(self, data: bytes, stream: int) -> None:
        """Add output as it arrives."""
        before, self._size = self._size, self._size + len(data)
        if self._size <= MAX_STEP_LOG:
            self._report.log(data, stream)
            return
        room = max(0, MAX_STEP_LOG - before)
        if before <= MAX_STEP_LOG:
            notice = f"\n[output clipped, log limit {MAX_STEP_LOG >> 20}MiB reached]\n"
            self._report.log(data[:room] + notice.encode(), stream)
        self._stream = stream
        self._end += data[room:]
        if len(self._end) > 2 * _LAST_BYTES:
            del self._end[:-_LAST_BYTES]

    def end(self) -> None:
        """End the output."""
        if self._size > MAX_STEP_LOG:
            last = bytes(self._end[-_LAST_BYTES:])
            omitted = self._size - MAX_STEP_LOG - len(last)
            notice = f"[{omitted} bytes were left out here]\n".encode() if omitted else b""
            self._report.log(notice + last, self._stream)
