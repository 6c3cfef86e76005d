"""The changes of a run as an image: at its end, or later where a full disk had no room for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import msgspec

from .. import exporters
from ..builders import embedded_builder
from ..cancel import Cancel
from ..errors import BuildError, StoreError
from ..exporters import ExportContext, SolveResult, TargetResult
from ..oci import reference
from ..oci.config import History
from ..oci.timestamp import format_time
from ..session import Session
from ..status.report import Reporter
from ..store import StoppedRun
from ..store.stopped import SHORT
from .image import RunImage

if TYPE_CHECKING:
    from ..builders.embedded.sandbox import RunOutcome
    from ..results.difference import Difference
    from .container import Container


class Commit(msgspec.Struct, frozen=True):
    """An image to be made of a run."""

    run: str
    """The ID of the run."""
    image: RunImage
    """The image on which it ran."""
    command: tuple[str, ...]
    name: str
    layer: str = ""
    """The diffID of its changes; "" until they are a layer."""

    @property
    def snapshot(self) -> tuple[str, ...]:
        """The layers of the new image, as far as there are any."""
        return (*self.image.snapshot, *([self.layer] if self.layer else ()))


def keep(container: Container, outcome: RunOutcome, cancel: Cancel) -> Difference:
    """Return the changes of a process, and commit them to an image if the options ask for it.

    If the disk is too full for that image, the changes stay for `commit_stopped`, and the StoreError says so.
    """
    from ..display.difference import shown
    from ..results.difference import compare_trees

    builder, image = embedded_builder(), container.image
    sandbox, store = builder.sandbox, builder.store
    commit = Commit(container.id, image, container.command, container.options.commit)
    try:
        layer = sandbox.commit(outcome, cancel, drops=False)
    except BaseException as error:
        try:
            if commit.name and isinstance(error, StoreError):
                _stop(commit, error, lambda run: sandbox.stop(outcome, run))
            raise
        finally:
            sandbox.discard(outcome)
    commit = msgspec.structs.replace(commit, layer=layer.diff_id)
    if commit.name:
        try:
            _export(commit, cancel)
        except StoreError as error:
            _stop(commit, error, lambda run: store.stopped.keep(run, store.rootfs.workdir()))
            raise
    return shown(compare_trees(store.tree(image.snapshot), store.tree(commit.snapshot)))


def commit_stopped(word: str, name: str = "") -> str:
    """Make an image of what a stopped run has changed, and return its name.

    `word` is the beginning of the run's ID; `name` is that of `--commit` unless given. Raises UsageError, and
    StoreError when the disk is still too full: the changes stay then.
    """
    builder = embedded_builder()
    store = builder.store
    with store.lease():
        run = store.stopped.find(word)
        try:
            commit = msgspec.msgpack.decode(run.meta, type=Commit)
        except msgspec.DecodeError:
            raise StoreError(
                f"The run {run.id[:SHORT]} was stopped by another version of pybuild_magic.",
                hint=f"Commit it with that version. Its files are in {store.stopped.files(run)}.",
            ) from None
        commit = msgspec.structs.replace(commit, name=name or commit.name)
        try:
            layer = commit.layer or builder.sandbox.commit_stopped(run).diff_id
            _export(msgspec.structs.replace(commit, layer=layer), Cancel())
        except StoreError as error:
            _raise_stopped(commit, error)
    store.stopped.remove(run)
    return reference.parse(commit.name).tagged().familiar


def _stop(commit: Commit, error: StoreError, keep: Callable[[StoppedRun], None]) -> None:
    """Keep a run that could not be committed, and raise the error that says so; return if that is impossible, too."""
    run = StoppedRun(
        commit.run,
        commit.snapshot,
        time.time(),
        f"{commit.image.name}: `%build commit {commit.run[:SHORT]} {commit.name}` saves it, "
        f"`%build rm {commit.run[:SHORT]}` drops it",
        msgspec.msgpack.encode(commit),
    )
    try:
        keep(run)
    except (BuildError, OSError):
        return
    _raise_stopped(commit, error)


def _raise_stopped(commit: Commit, error: StoreError) -> NoReturn:
    line = f"%build commit {commit.run[:SHORT]} {commit.name}"
    raise StoreError(
        f"{error.message} What the run has changed is kept.",
        hint=f"Free some space, for instance with `%build prune`, and save it with `{line}`.",
    ) from error


def _export(commit: Commit, cancel: Cancel) -> None:
    """Make the image, and name it."""
    base = commit.image.config
    entry = History(created=format_time(time.time_ns()), created_by=" ".join(commit.command))
    config = msgspec.structs.replace(base, history=(*base.history, entry), created="")
    target = TargetResult(base.platform, commit.snapshot, config, base)
    values = exporters.check("image", {"name": commit.name})
    with Reporter(lambda _status: None).vertex(f"sha256:{commit.run}", "committing") as report:
        context = ExportContext(embedded_builder().store, Session(), report, cancel)
        exporters.get("image").export(SolveResult((target,)), values, context)
