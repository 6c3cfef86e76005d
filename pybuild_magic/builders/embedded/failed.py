"""Failed steps: the files of a RUN that failed, kept so that a user can look into them.

The state is one more layer on the step's root, with a record of the kind `exec.failed` in the cache. So `du` lists it,
a prune or a need for room removes it, and other processes find it. It is removed by the next build of the same process,
by anybody's next build once that process is gone, and after a day.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...cancel import Cancel
from ...errors import BuildError, StoreError
from ...llb.ops import ExecOp
from ...store import CacheRecord, Store
from .sandbox import RunOutcome, RunSpec, Sandbox
from .snapshot import Snapshot

if TYPE_CHECKING:
    from ...session import Session

KIND = "exec.failed"
KEPT_SECONDS = 24 * 3600.0
LARGEST = 2 << 30
"""The most bytes that a step may have written for its state to be kept."""
MOST = 8
"""The most steps that are kept at once."""
_PREFIX = "failed:"
"""The prefix of keys; with `@` before it, also of the names of the kept states."""


class FailedStep(msgspec.Struct, frozen=True):
    """A RUN that failed, with the snapshots of its state."""

    name: str
    """The name in the progress."""
    op: ExecOp
    inputs: tuple[Snapshot, ...]
    before: Snapshot
    """The root file system before the step."""
    exit_code: int
    layer: str = ""
    """The diffID of the changes made by the process."""
    key: str = ""
    process: int = 0
    at: float = 0.0
    """The time of the failure, in seconds since 1970."""

    @property
    def after(self) -> Snapshot:
        """The root file system after the step."""
        return (*self.before, self.layer)


def holds(folder: Path, values: Sequence[bytes]) -> bool:
    """Return whether a file below `folder` contains one of `values`, or cannot be read. Follows no link."""
    if not values:
        return False
    overlap = max(map(len, values)) - 1
    blind: list[OSError] = []
    for place, _, names in os.walk(folder, onerror=blind.append):
        for name in names:
            path = Path(place, name)
            try:
                if not stat.S_ISREG(path.lstat().st_mode):
                    continue
                with path.open("rb") as file:
                    rest = b""
                    while block := file.read(1 << 20):
                        window = rest + block
                        if any(value in window for value in values):
                            return True
                        rest = window[-overlap:] if overlap else b""
            except OSError:
                return True
    return bool(blind)


class FailedSteps:
    """The failed steps of a store. Safe to use from several threads."""

    def __init__(self, store: Store, sandbox: Sandbox) -> None:
        self._store = store
        self._sandbox = sandbox
        self._sessions: dict[str, Session] = {}
        """The sessions with the secrets of this process's steps, which are never written to disk."""

    def keep(self, step: FailedStep, outcome: RunOutcome, session: Session, cancel: Cancel) -> str:
        """Keep the state in `outcome`, and return its key; "" when it is too large or cannot be written."""
        from ...store.usage import directory_size

        if directory_size(outcome.work / "fs") > LARGEST and self._sandbox.overlay:
            self._sandbox.discard(outcome)
            return ""
        moment = time.time()
        key = f"{_PREFIX}{time.time_ns()}-{os.urandom(4).hex()}"
        with suppress(BuildError):  # the step's own failure is the one to report
            layer = self._sandbox.commit(outcome, cancel)
            step = msgspec.structs.replace(step, layer=layer.diff_id, key=key, process=os.getpid(), at=moment)
            layers = [layer for snapshot in step.inputs for layer in snapshot]
            record = CacheRecord(
                (*dict.fromkeys((*layers, *step.before)), layer.diff_id),
                msgspec.msgpack.encode(step),
                kind=KIND,
                description=f"failed: {step.name}",
            )
            self._store.cache.put(key, record)
            self._sessions[key] = session
            for older in sorted(self._keys())[:-MOST]:
                self._remove(older)
            return key
        return ""

    def find(self, key: str = "") -> FailedStep:
        """Return the step with the given key, or the last one that failed, preferring steps of this process.

        Raises StoreError when there is none. Hold a lease of the store during its use.
        """
        keys = [key] if key else sorted(self._keys(), key=lambda name: (name in self._sessions, name), reverse=True)
        for name in keys:
            record = self._store.cache.get(name)
            step = _decode(record) if record is not None else None
            if step is not None and time.time() - step.at < KEPT_SECONDS:
                return step
        raise StoreError(
            "The state of the failed step is gone." if key else "No step has failed recently.",
            hint="The embedded builder keeps a failed step until the next build or a prune, for a day at most; "
            "BuildKit keeps none.",
        )

    def forget(self) -> None:
        """Forget the steps that the next build removes."""
        for key, record in list(self._store.cache.items()):
            if record.kind == KIND and ((step := _decode(record)) is None or _is_over(step)):
                self._remove(key)

    @contextmanager
    def opened(self, step: FailedStep, cancel: Cancel) -> Generator[RunSpec]:
        """Yield the sandbox's process on the files that the step left; cache mounts are held during the block."""
        from .execspec import ExecSpec

        inputs, session = step.inputs, self._sessions.get(step.key)
        with ExecSpec(self._store, session, step.op, inputs, cancel).opened() as spec:
            yield msgspec.structs.replace(spec, snapshot=step.after)

    def _keys(self) -> list[str]:
        return [key for key, record in self._store.cache.items() if record.kind == KIND]

    def _remove(self, key: str) -> None:
        self._store.cache.remove(key)
        self._sessions.pop(key, None)


def _decode(record: CacheRecord) -> FailedStep | None:
    try:
        return msgspec.msgpack.decode(record.meta, type=FailedStep)
    except msgspec.DecodeError:
        return None  # written by another version of the program


def _is_over(step: FailedStep) -> bool:
    has_exited = step.process == os.getpid() or not Path(f"/proc/{step.process}").exists()
    return has_exited or time.time() - step.at > KEPT_SECONDS
