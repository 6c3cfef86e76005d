"""Asking a daemon's front end something instead of having it build: `--call`, and what the daemon is able to do.

The client takes the part of the front end of a solve that has none: it passes the question on to the daemon's
Dockerfile front end by the gateway API, and returns an empty result when it has the answer.
"""

from __future__ import annotations

import threading
from typing import Any

from ...net.grpc.rpc import GrpcError
from ..failures import message_of
from ..proto import gateway_pb2 as gw
from .connect import Connection

_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
_BUILD_ID = "buildkit-controlapi-buildid"
_SECONDS = 600.0
_SUBREQUESTS = "moby.buildkit.frontend.subrequests"
RESOURCES_CAPABILITY = "exec.meta.linux.resources"
"""The capability that `--resource` takes."""


class Conversation:
    """The questions of one solve, asked in a thread of its own while the solve is waited for."""

    def __init__(self, connection: Connection, ref: str, frontend: str, attrs: dict[str, str]) -> None:
        """`attrs` are the front end's; with `requestid` it is asked that, without only what the daemon can do."""
        self._connection = connection
        self._metadata = [(_BUILD_ID, ref)]
        self._frontend = frontend
        self._attrs = attrs
        self._thread = threading.Thread(target=self._talk, name="pybuild-gateway", daemon=True)
        self.answer: dict[str, str] = {}
        """`result.txt`, `result.json`, `version` and the like."""
        self.capabilities: frozenset[str] = frozenset()
        self.error: GrpcError | None = None
        """The error that the front end has failed with."""

    def start(self) -> None:
        """Ask, once the solve is under way."""
        self._thread.start()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end, which comes with the end of the solve; whether it has come within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _talk(self) -> None:
        result = gw.ReturnRequest(result=gw.Result())
        try:
            if "requestid" in self._attrs:
                opts = {**self._attrs, "frontend.caps": _SUBREQUESTS}
                request = gw.SolveRequest(
                    Frontend=self._frontend, FrontendOpt=opts, allowResultReturn=True, allowResultArrayRef=True
                )
                metadata = self._call("Solve", request, gw.SolveResponse).result.metadata
                self.answer = {key: value.decode("utf-8", "replace") for key, value in metadata.items()}
            else:
                caps = self._call("Ping", gw.PingRequest(), gw.PongResponse).LLBCaps
                self.capabilities = frozenset(cap.ID for cap in caps if cap.Enabled)
        except GrpcError as error:
            self.error = error
            result = gw.ReturnRequest(error=gw.Status(code=2, message=message_of(error)))
        try:
            self._call("Return", result, gw.ReturnResponse)
        except GrpcError as error:
            self.error = self.error or error

    def _call(self, method: str, request: Any, answer: Any) -> Any:
        return self._connection.unary(_BRIDGE + method, request, answer, _SECONDS, self._metadata)
