"""Hooks of CDI specifications: programs of the machine that adapt a sandbox's root before its process begins."""

from __future__ import annotations

import os

from .execute import parse_environment
from .restrict import close_all_but

_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
_CONFIG = '{"ociVersion":"1.0.2","root":{"path":"%s/root"}}'
_STATE = '{"ociVersion":"1.0.2","id":"pybuild","status":"creating","pid":%d,"bundle":"%s"}'


def run(hooks: list[tuple[str, list[str], list[str]]], scratch: str) -> None:
    """Run each hook as an OCI runtime runs `createContainer` hooks: with the state on standard input.

    `scratch` is the bundle, whose `root` is the root file system. Raises OSError when a hook fails.
    """
    if not hooks:
        return
    with open(f"{scratch}/config.json", "w", encoding="utf-8") as file:
        file.write(_CONFIG % scratch)
    for path, args, env in hooks:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.dup2(read, 0)
                os.dup2(2, 1)
                os.chdir(scratch)
                close_all_but()
                os.execve(path, args or [path], parse_environment([_PATH, *env]))
            finally:
                os._exit(127)
        os.close(read)
        try:
            os.write(write, (_STATE % (os.getpid(), scratch)).encode())
        except BrokenPipeError:
            pass  # it has ended already, and did not want to know
        os.close(write)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            raise OSError(0, f"the hook {path} of a device ended with {code}")
