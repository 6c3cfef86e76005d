"""The SSH agents that a build may use, as sockets by id."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from ..errors import UsageError
from ..portable import kind_of, user_path

DEFAULT_ID = "default"


class SSHSource(msgspec.Struct, frozen=True):
    """The value of `--ssh`: `paths` has an agent's socket, or is empty for the agent at SSH_AUTH_SOCK."""

    id: str = DEFAULT_ID
    paths: tuple[str, ...] = ()


class SSHAgents:
    """Sockets of agents by id. Raises `UsageError` for a path that is not an agent's socket."""

    def __init__(self, sources: tuple[SSHSource, ...] = (), environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._sockets: dict[str, str] = {}
        for source in sources:
            name = source.id or DEFAULT_ID
            if name in self._sockets:
                raise UsageError(f"--ssh names {name!r} twice.")
            self._sockets[name] = _socket(name, source.paths, environ)

    def get(self, id: str) -> str | None:  # noqa: A002 - BuildKit's name
        """Return the path of the agent's socket; None for an agent that was not given."""
        return self._sockets.get(id or DEFAULT_ID)


def _socket(name: str, paths: tuple[str, ...], environ: Mapping[str, str]) -> str:
    sockets = [path for path in paths if path]
    if not sockets:
        agent = environ.get("SSH_AUTH_SOCK", "")
        if not agent:
            raise UsageError(
                f"--ssh {name} needs an SSH agent, but SSH_AUTH_SOCK is not set.",
                hint="Start one (eval $(ssh-agent); ssh-add), or give its socket: --ssh default=SOCKET.",
            )
        sockets = [agent]
    if len(sockets) > 1:
        raise UsageError(f"--ssh {name} takes one agent's socket.", hint="Load all keys into one agent with ssh-add.")
    path = user_path(sockets[0])
    if not kind_of(path):
        raise UsageError(f"--ssh {name}: {sockets[0]} does not exist.")
    if not path.is_socket():
        raise UsageError(
            f"--ssh {name}: {sockets[0]} is a key file, but keys are used only through an agent.",
            hint=f"Load it (ssh-add {sockets[0]}) and use --ssh {name}.",
        )
    return str(path)
