"""The small services of a session: secrets, SSH agents, uploads, and the health check."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import BinaryIO

from ....net.grpc.rpc import INVALID, NOT_FOUND, GrpcError
from ....net.grpc.stream import Call, CallCancelled, prefixed
from ....net.wire import unix_socket
from ....session import SecretStore, SSHAgents
from ...proto import session_pb2 as pb
from .fsutil import options

_SERVING = 1
_BLOCK = 1 << 20
_SSH_BLOCK = 1 << 15
_AGENT_SECONDS = 20.0


def _request(call: Call) -> bytes:
    message = call.receive()
    if message is None:
        raise GrpcError(INVALID, "the call has no request")
    return message


def check_health(call: Call) -> None:
    """Answer `grpc.health.v1.Health/Check`: the daemon ends a session whose client does not answer."""
    _request(call)
    call.send(prefixed(pb.HealthCheckResponse(status=_SERVING).SerializeToString()))


class Secrets:
    """The service `moby.buildkit.secrets.v1.Secrets`."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store

    def get(self, call: Call) -> None:
        """Return a secret, read at this moment."""
        name = pb.GetSecretRequest.FromString(_request(call)).ID
        value = self._store.get(name)
        if value is None:
            raise GrpcError(NOT_FOUND, f"secret {name}: not found")
        call.send(prefixed(pb.GetSecretResponse(data=value).SerializeToString()))


class SSH:
    """The service `moby.sshforward.v1.SSH`: it passes bytes between a build step and the user's agent."""

    def __init__(self, agents: SSHAgents) -> None:
        self._agents = agents

    def _socket(self, name: str) -> str:
        path = self._agents.get(name)
        if path is None:
            raise GrpcError(NOT_FOUND, f"unset ssh forward key {name or 'default'}")
        return path

    def check(self, call: Call) -> None:
        """Check whether the build was given the agent."""
        self._socket(pb.CheckAgentRequest.FromString(_request(call)).ID)
        call.send(prefixed(pb.CheckAgentResponse().SerializeToString()))

    def forward(self, call: Call) -> None:
        """Carry one connection to the agent."""
        path = self._socket((options(call.metadata, "buildkit.ssh.id") or [""])[0])
        try:
            agent = unix_socket(path, _AGENT_SECONDS)
        except OSError as error:
            raise GrpcError(NOT_FOUND, f"the SSH agent at {path} cannot be reached: {error.strerror}") from error
        agent.settimeout(None)
        with agent:
            requests = threading.Thread(target=_feed, args=(call, agent), name="pybuild-ssh", daemon=True)
            requests.start()
            try:
                while data := agent.recv(_SSH_BLOCK):
                    call.send(prefixed(pb.Bytes(data=data).SerializeToString()))
            finally:
                with contextlib.suppress(OSError):
                    agent.shutdown(socket.SHUT_RDWR)
                call.end(cancelled=False)
                requests.join()


def _feed(call: Call, agent: socket.socket) -> None:
    with contextlib.suppress(CallCancelled, OSError):
        while (message := call.receive()) is not None:
            agent.sendall(pb.Bytes.FromString(message).data)
    with contextlib.suppress(OSError):
        agent.shutdown(socket.SHUT_WR if not call.cancelled else socket.SHUT_RDWR)


class Upload:
    """The service `moby.upload.v1.Upload`: streams that the daemon fetches as `http://buildkit-session/NAME`."""

    def __init__(self, streams: Mapping[str, Callable[[], BinaryIO]]) -> None:
        self._streams = streams

    def pull(self, call: Call) -> None:
        """Send one stream from its start."""
        name = (options(call.metadata, "urlpath") or [""])[0].rpartition("/")[2]
        start = self._streams.get(name)
        if start is None:
            raise GrpcError(NOT_FOUND, f"no http response from session for {name}")
        with start() as stream:
            while block := stream.read(_BLOCK):
                call.send(prefixed(pb.Bytes(data=block).SerializeToString()))
