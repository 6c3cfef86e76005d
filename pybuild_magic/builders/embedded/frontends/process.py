"""The process of a front end's image, run in the sandbox with the gateway's service on its standard input and output.

As in BuildKit, it gets its options and the session's name as variables, and no other privileges than a RUN. Its changes
to its root are discarded.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress

import msgspec

from ....cancel import Cancel
from ....dockerfile.metadata import ResolvedImage
from ....errors import Interrupted, UnsupportedError
from ....golang.parsebool import parse_bool
from ....llb.ops import MountType, NetMode
from ....net.grpc.frames import ProtocolError
from ....net.grpc.rpc import Server
from ....net.wire import SocketWire
from ....oci import platform as platforms
from ....status.trace import LastLines
from ..sandbox import RunSpec, Sandbox, SandboxMount
from ..sandbox.limits import Limits
from ..sandbox.process import Hold
from ..snapshot import Snapshot
from . import capabilities
from .bridge import Bridge
from .files import MAX_MESSAGE
from .result import DefinitionError, FrontendResult

LAST_LINES = 20
MAX_CALLS = 32
"""The most simultaneous calls of a front end: each may hold a message of MAX_MESSAGE bytes."""
GRACE_SECONDS = 10.0
"""The time in which a front end must exit after it has returned its result."""
_DEFINITION = "/run/config/buildkit/metadata/frontend.bin"


class FrontendProcess:
    """A front end: its image, that image's layers, and the LLB of its source."""

    def __init__(self, image: ResolvedImage, snapshot: Snapshot, definition: bytes, limits: Limits) -> None:
        self._image = image
        self._snapshot = snapshot
        self._definition = definition
        self._limits = limits

    def run(
        self, sandbox: Sandbox, bridge: Bridge, attrs: Mapping[str, str], session: str, cancel: Cancel
    ) -> FrontendResult:
        """Run the front end to its end, and return its result.

        Raises BuildError: the front end's own error if there is one, else that of its process.
        """
        tail = LastLines(LAST_LINES)
        stop, ended = Cancel(), threading.Event()
        broken: list[ProtocolError] = []
        with ExitStack() as stack:
            ours, theirs = socket.socketpair()
            stack.callback(theirs.close)
            hold = Hold(pair=theirs.fileno())
            hold.awaited = True
            server = Server(SocketWire(ours), bridge.handlers, max_message=MAX_MESSAGE, max_calls=MAX_CALLS)

            def serve() -> None:
                """Answer until the front end closes its side; a front end that does not speak gRPC is killed."""
                hold.started.wait()
                theirs.close()  # the process has its own copy by now
                try:
                    with suppress(OSError):
                        server.run()
                except ProtocolError as error:
                    broken.append(error)
                    stop.cancel()
                bridge.finished.set()

            def reap() -> None:
                """Kill a front end that keeps running after it has returned its result, or that has gone silent."""
                bridge.finished.wait()
                if not ended.wait(GRACE_SECONDS):
                    stop.cancel()

            def end() -> None:
                ended.set()
                hold.started.set()
                bridge.finished.set()
                server.close()
                for thread in threads:
                    thread.join()

            threads = [threading.Thread(target=work, name="pybuild-frontend", daemon=True) for work in (serve, reap)]
            stack.enter_context(cancel.on_cancel(stop.cancel))
            for thread in threads:
                thread.start()
            stack.callback(end)
            code, error = -1, ""
            try:
                outcome = sandbox.run(self._spec(attrs, session), lambda _, data: tail.add(data), stop, hold)
                code, error = outcome.exit_code, outcome.error
                sandbox.discard(outcome)
            except Interrupted:
                cancel.check()
        return self._answer(bridge, broken, code, error, tail.lines())

    def _answer(
        self, bridge: Bridge, broken: Sequence[ProtocolError], code: int, error: str, logs: Sequence[str]
    ) -> FrontendResult:
        if bridge.failure is not None:
            raise bridge.failure
        # Once it was not understood, whether it was ended before it ended by itself is chance.
        if broken:
            raise DefinitionError(f"{self._image.ref}: {_CLOSED}: {broken[0]}", logs=logs, hint=_HINT)
        if code > 0:
            reason = f"exit code: {code}" + (f": {error}" if error else "")
            raise DefinitionError(f"the front end {self._image.ref} failed: {reason}", logs=logs)
        if bridge.result is None:
            cause = _CLOSED if code < 0 else "no result for incomplete build"
            raise DefinitionError(f"{self._image.ref}: {cause}", logs=logs, hint=_HINT)
        return bridge.result

    def _spec(self, attrs: Mapping[str, str], session: str) -> RunSpec:
        image = self._image.parsed
        config = image.config
        host = platforms.normalise(platforms.host())
        worker: dict[str, object] = {"ID": "embedded", "Labels": {}, "Platforms": [host.document()]}
        options = [f"BUILDKIT_FRONTEND_OPT_{number}={key}={value}" for number, (key, value) in enumerate(attrs.items())]
        quiet = parse_bool(config.labels.get(capabilities.NO_NETWORK_LABEL, "")) is True
        return RunSpec(
            args=config.entrypoint or ("/run",),
            snapshot=self._snapshot,
            env=(
                *config.env,
                *options,
                f"BUILDKIT_SESSION_ID={session}",
                f"BUILDKIT_WORKERS={msgspec.json.encode([worker]).decode()}",
                "BUILDKIT_EXPORTEDPRODUCT=",
            ),
            cwd=config.working_dir or "/",
            mounts=(SandboxMount(_DEFINITION, MountType.SECRET, data=self._definition, mode=0o400),),
            network=NetMode.NONE if quiet else NetMode.SANDBOX,
            limits=self._limits,
        )


_CLOSED = "frontend grpc server closed unexpectedly"
_HINT = "Use an image that speaks BuildKit's gateway protocol on its standard input and output in `# syntax=`."


def check_capabilities(image: ResolvedImage, attrs: Mapping[str, str], *, inputs: bool) -> None:
    """Raise UnsupportedError if the request needs a capability that the image does not declare."""
    label = image.parsed.config.labels.get(capabilities.LABEL, "")
    offered = {name.partition("+")[0] for name in label.split(",")}
    needed = [name.partition("+")[0] for name in attrs.get("frontend.caps", "").split(",") if name]
    needed += [capabilities.INPUTS] if inputs else []
    for name in needed:
        if name not in offered:
            raise UnsupportedError(f"unsupported frontend capability {name}", hint=f"{image.ref} does not declare it.")
