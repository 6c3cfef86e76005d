"""Questions to a daemon's front end that build nothing: `--call`, and the daemon's capabilities.

The client acts as the front end of a solve that has none: it passes the question on to the daemon's Dockerfile front
end through the gateway API, and returns an empty result once it has the answer.
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
"""The capability that `--resource` needs."""


class Conversation:
    """The questions of one solve, asked in a separate thread while the solve is waited for."""

    def __init__(self, connection: Connection, ref: str, frontend: str, attrs: dict[str, str]) -> None:
        """Prepare a conversation. `attrs` are the front end's; without `requestid`, only the daemon's capabilities are
        asked for.
        """
        self._connection = connection
        self._metadata = [(_BUILD_ID, ref)]
        self._frontend = frontend
        self._attrs = attrs
        self._thread = threading.Thread(target=self._talk, name="pybuild-gateway", daemon=True)
        self.answer: dict[str, str] = {}
        """The answer: `result.txt`, `result.json`, `version` and the like."""
        self.capabilities: frozenset[str] = frozenset()
        self.error: GrpcError | None = None
        """The error with which the front end failed."""

    def start(self) -> None:
        """Start asking, once the solve is running."""
        self._thread.start()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end, which comes with the end of the solve. Return whether it came within `seconds`."""
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
