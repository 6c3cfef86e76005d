"""The one path from options to a finished build, which the magics and `pybuild_magic.build` both take."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Generic, Protocol, TypeVar

from ..builders import Builder, choose
from ..cancel import Cancel
from ..errors import BuildError, ContextError, ExportError, Interrupted, RunError, UnsupportedError, unwritable
from ..portable import kind_of, user_path
from ..request.options import BuildOptions, Context
from ..request.outputs import Output
from ..request.parts import DOCKERFILE, numbered_outputs
from ..request.solve_request import SolveRequest, compile_request
from ..request.values import is_reference, is_remote
from ..result import BuildResult
from ..results.metadata import metadata_file
from ..session import (
    DirSink,
    DirSource,
    FileSink,
    LocalDir,
    MemorySource,
    SecretStore,
    Session,
    Sink,
    SSHAgents,
    TarSource,
)
from ..session.vcs import vcs_attributes
from ..status.messages import SolveStatus, StatusSink
from ..status.report import Reporter, VertexReport
from ..status.trace import Trace
from .policy import explained, source_policy

T = TypeVar("T")

TICK = 0.1
"""Seconds between two looks at the stream: a display is updated at most ten times a second, in the caller's thread."""
_STOP = 5.0
"""Seconds that an interrupted builder has to finish before control returns to the caller regardless."""


class Progress(Protocol):
    """A display of a running build. All calls come from the thread that started the build."""

    def update(self, status: SolveStatus) -> None:
        """Receive one message."""
        ...

    def tick(self, trace: Trace) -> None:
        """Show the news in `trace`, which has every message so far; called every `TICK` seconds."""
        ...

    def finish(self, trace: Trace, error: BuildError | None, result: BuildResult | None = None) -> None:
        """End the display, after success or with `error`; a display that shows the whole error sets its `rest`.

        `result` is the result of the build, also of one that failed after it had begun.
        """
        ...


def run(options: BuildOptions, progress: Progress | None = None, cancel: Cancel | None = None) -> BuildResult:
    """Send the build that `options` describe to its builder, show `progress`, and return the result.

    The builder works in threads of its own; a KeyboardInterrupt here cancels it. Raises the same errors as `build`.
    """
    cancel = cancel or Cancel()
    trace = Trace()
    error: BuildError | None = None
    attempt: tuple[SolveRequest, Builder] | None = None
    result: BuildResult | None = None
    try:
        _check_encoding()
        builder = choose(options.builder)
        if options.policies:
            raise UnsupportedError(
                "No builder evaluates policies; `docker buildx` does that itself, from version 0.31 on.",
                hint="Leave --policy out, or run `docker buildx build --policy` in a terminal.",
            )
        session = open_session(options, builder.driver)
        request = compile_request(options, builder.driver, session=session.id, policy=source_policy(options))
        if "attest:provenance" in request.frontend_attrs:
            request = request.with_attrs(vcs_attributes(session.local_dirs))
        _forget_image_id(options)
        attempt = request, builder
        try:
            response = _Work(lambda sink: builder.solve(request, session, sink, cancel), cancel).watch(trace, progress)
        finally:
            trace.flush(_duration(builder, request.ref))
        built = BuildResult.of(options, request, builder, response, trace, session.local_dirs.get("dockerfile"))
        _write_files(options, built)
        result = built
    except BuildError as failure:
        error = explained(failure, options)
        if isinstance(failure, RunError) and failure.step_ref:
            from .failed import FailedState

            failure.state = FailedState(failure)
        elif isinstance(failure, RunError) and options.debug:
            failure.hint = " ".join(filter(None, (failure.hint, str(failure.not_kept()))))
        raise
    except BaseException as failure:
        error = BuildError(f"{type(failure).__name__}: {failure}")
        raise
    finally:
        trace.flush()
        if progress:
            if error is not None and attempt is not None:
                result = BuildResult.failed(options, *attempt, trace, error)
            progress.finish(trace, error, result)
    return built


def _duration(builder: Builder, ref: str) -> float | None:
    """Return how long the history says a build took. A store that cannot be read hides no other error."""
    with contextlib.suppress(BuildError):
        return builder.duration(ref)
    return None


def watch(name: str, work: Callable[[VertexReport], T], progress: Progress | None, cancel: Cancel) -> T:
    """Do `work` as a single step called `name`, with its progress shown like a build's. Raises what the work raises."""

    def step(sink: StatusSink) -> T:
        with Reporter(sink).vertex("sha256:" + sha256(name.encode()).hexdigest(), name) as report:
            return work(report)

    return show(step, progress, cancel)


def show(work: Callable[[StatusSink], T], progress: Progress | None, cancel: Cancel) -> T:
    """Do `work` in a thread, and show its messages as the progress of a build. Raises what the work raises."""
    trace = Trace()
    error: BuildError | None = None
    try:
        return _Work(work, cancel).watch(trace, progress)
    except BuildError as failure:
        error = failure
        raise
    finally:
        trace.flush()
        if progress:
            progress.finish(trace, error)


class _Work(Generic[T]):
    """Work in a thread, such as a builder's `solve`, and the loop in the caller's thread that shows its status."""

    def __init__(self, do: Callable[[StatusSink], T], cancel: Cancel) -> None:
        self._messages: queue.SimpleQueue[SolveStatus] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._cancel = cancel
        self._result: list[T] = []
        self._error: BaseException | None = None

        def work() -> None:
            try:
                self._result.append(do(self._messages.put))
            except BaseException as error:
                self._error = error
            finally:
                self._ended.set()

        self._thread = threading.Thread(target=work, name="pybuild-solve", daemon=True)

    def watch(self, trace: Trace, progress: Progress | None) -> T:
        """Start the work, and return its result when it ends."""
        self._thread.start()
        try:
            while self._show(trace, progress, TICK):
                if self._cancel.cancelled:
                    self._stop(trace, progress)
                    raise _interrupted(trace)
            self._thread.join()
        except KeyboardInterrupt:
            error = _interrupted(trace)
            self._stop(trace, progress)
            raise error from None
        if self._error is not None:
            raise _interrupted(trace) if self._cancel.cancelled else self._error
        return self._result[0]

    def _stop(self, trace: Trace, progress: Progress | None) -> None:
        """Cancel, and wait for the builder to clean up; a second interrupt does not cut the waiting short."""
        self._cancel.cancel()
        waited = 0.0
        while waited < _STOP:
            try:
                if not self._show(trace, progress, TICK):
                    return
            except KeyboardInterrupt:
                continue
            waited += TICK

    def _show(self, trace: Trace, progress: Progress | None, wait: float) -> bool:
        """Show the messages that arrive within `wait` seconds, all at once, so that this thread seldom takes the GIL
        from the builder's; return False when the stream has ended.
        """
        ended = self._ended.wait(wait)
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._messages.get_nowait()
                trace.update(message)
                if progress:
                    progress.update(message)
        if progress:
            progress.tick(trace)
        return not ended


def _interrupted(trace: Trace) -> Interrupted:
    steps = [step.name for step in trace.steps.values() if step.state in ("running", "canceled")]
    where = f" in {', '.join(steps)}" if steps else ""
    return Interrupted(f"The build was interrupted{where}.", hint="The steps that finished are cached.")


def open_session(options: BuildOptions, driver: str) -> Session:
    """Return the user's side of the build: directories, secrets, agents, credentials and the destinations of results.

    Raises `UsageError` and `ContextError` for something that does not exist.
    """
    from ..session.auth import DockerAuth

    context = _context(options.context)
    local_dirs: dict[str, LocalDir] = {"context": context} if context else {}
    local_dirs |= {
        name: DirSource(user_path(where)) for name, where in options.build_contexts.items() if not is_reference(where)
    }
    if options.dockerfile is not None:
        local_dirs["dockerfile"] = MemorySource({DOCKERFILE: options.dockerfile})
    elif options.file and (context or options.file.startswith("/")):
        local_dirs["dockerfile"] = DirSource(user_path(options.file).parent)
    elif context:
        local_dirs["dockerfile"] = context
    outputs = numbered_outputs(options, driver)
    sinks = {number: sink for number, output in outputs.items() if (sink := _sink(output))}
    return Session(
        local_dirs=local_dirs,
        secrets=SecretStore(options.secrets),
        ssh=SSHAgents(options.ssh),
        auth=DockerAuth(),
        sinks=sinks,
    )


def _context(context: Context) -> LocalDir | None:
    if context is None:
        return DirSource(".")
    if isinstance(context, Mapping):
        for path, data in context.items():
            if not isinstance(data, str | bytes):  # pyright: ignore[reportUnnecessaryIsInstance] - a user's dict
                raise ContextError(f"{path!r} of the context is a {type(data).__name__}, not text or bytes.")
        return MemorySource(context)
    if context == "-":
        return MemorySource({})
    if is_remote(context):
        return None
    path = user_path(context)
    if kind_of(path) == "file":
        return TarSource(path)
    if not kind_of(path):
        raise ContextError(f"The context {context} does not exist.", hint="Give a directory, a URL, - or a $dict.")
    return DirSource(path)


def _sink(output: Output) -> Sink | None:
    if not output.dest:
        return None
    return DirSink(output.dest) if output.directory else FileSink(output.dest)


def _check_encoding() -> None:
    """Raise if file names would differ in the image: paths of images and contexts are UTF-8."""
    encoding = sys.getfilesystemencoding()
    if encoding.lower().replace("-", "") != "utf8":
        raise UnsupportedError(
            f"Python reads file names as {encoding} here, but those of an image are UTF-8.",
            hint="Start the kernel with PYTHONUTF8=1, or in a UTF-8 locale such as C.UTF-8.",
        )


def _forget_image_id(options: BuildOptions) -> None:
    """Remove the image ID of an earlier build, so that it is not mistaken for this build's if this one fails."""
    if options.iidfile and kind_of(path := user_path(options.iidfile)) == "file":
        try:
            path.unlink()
        except OSError as error:
            raise ExportError(f"--iidfile {path} cannot be removed: {error.strerror or error}.") from error


def _write_files(options: BuildOptions, result: BuildResult) -> None:
    metadata = metadata_file(result.metadata)
    for flag, name, data in (
        ("--iidfile", options.iidfile, result.image_id.encode()),
        ("--metadata-file", options.metadata_file, metadata),
    ):
        if name:
            try:
                user_path(name).write_bytes(data)
            except OSError as error:
                raise unwritable(f"{flag} {name}", error) from error
