"""Hooks of CDI specifications: programs that adapt a sandbox before its process begins."""

from __future__ import annotations

import os

from .execute import parse_environment
from .restrict import close_all_but

_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
_CONFIG = '{"ociVersion":"1.0.2","root":{"path":"%s/root"}}'
_STATE = '{"ociVersion":"1.0.2","id":"pybuild","status":"%s","pid":%d,"bundle":"%s"}'

TYPE_CHECKING = False
if TYPE_CHECKING:
    Hooks = list[tuple[str, list[str], list[str], bool]]


def prepare(hooks: Hooks, scratch: str) -> None:
    """Run the hooks of the machine, as an OCI runtime runs `createContainer` hooks.

    `scratch` is the bundle, whose `root` is the root file system. Raises OSError when a hook fails.
    """
    outside = [hook for hook in hooks if not hook[3]]
    if outside:
        with open(f"{scratch}/config.json", "w", encoding="utf-8") as file:
            file.write(_CONFIG % scratch)
    for path, args, env, _ in outside:
        _run(path, args or [path], [_PATH, *env], _STATE % ("creating", os.getpid(), scratch), scratch)


def start(hooks: Hooks) -> None:
    """Run the hooks of the image, as an OCI runtime runs `startContainer` hooks: with the process's rights and root.

    Raises OSError when a hook fails.
    """
    for path, args, env, inside in hooks:
        if inside:
            _run(path, args or [path], [_PATH, *env], _STATE % ("created", os.getpid(), "/"), "")


def _run(path: str, args: list[str], env: list[str], state: str, directory: str) -> None:
    """Run a hook with the state on standard input; what it prints is shown only when it fails."""
    read, write = os.pipe()
    printed = os.memfd_create("hook")
    child = os.fork()
    if child == 0:
        try:
            os.dup2(read, 0)
            os.dup2(printed, 1)
            os.dup2(printed, 2)
            if directory:
                os.chdir(directory)
            close_all_but()
            os.execve(path, args, parse_environment(env))
        except OSError as error:
            os.write(2, os.strerror(error.errno or 0).encode())
        finally:
            os._exit(127)
    os.close(read)
    try:
        os.write(write, state.encode())
    except BrokenPipeError:
        pass  # it has ended already, and did not want to know
    os.close(write)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = os.pread(printed, 1000, 0).decode("utf-8", "replace").strip()
    os.close(printed)
    if code:
        raise OSError(0, f"the hook {path} of a device ended with {code}" + (f": {text}" if text else ""))
