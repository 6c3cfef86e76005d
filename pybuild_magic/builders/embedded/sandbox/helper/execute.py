"""The start of a RUN's command: its path, and the reason why it cannot be started."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .jobs import ProcessJob


def parse_environment(env: list[str]) -> dict[str, str]:
    """Return the variables of `NAME=value` lines; a later one overrides an earlier one."""
    environment: dict[str, str] = {}
    for item in env:
        key, _, value = item.partition("=")
        environment[key] = value
    return environment


def become(args: list[str], env: list[str]) -> NoReturn:
    """Become the process. Raises ExecuteError when it cannot be started.

    `os.execvpe` cannot be used: it imports a module, which by now would come from the image.
    """
    environment = parse_environment(env)
    failure: OSError | ValueError | None = None
    for path in candidates(args, environment):
        try:
            os.execve(path, args, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            failure = failure or error
    if failure is None:
        raise missing(args)
    reason = os.strerror(failure.errno or 0) if isinstance(failure, OSError) else str(failure)
    raise ExecuteError(126, f'exec: "{args[0] if args else ""}": {reason.lower()}')


def follow(program: int | str, channel: int, job: ProcessJob, *options: str) -> NoReturn:
    """Become the process through the tracer; the tracer at the other end of `channel` traces it too."""
    os.set_inheritable(channel, True)
    words = ["tracer", "--inside", str(channel), *options, "--user", f"{job['uid']}:{job['gid']}", "--", *job["args"]]
    os.execve(program, words, parse_environment(job["env"]))


def candidates(args: list[str], environment: dict[str, str]) -> list[str]:
    """Return the possible paths of the command."""
    name = args[0] if args else ""
    if not name:
        return []
    directories = [""] if "/" in name else environment.get("PATH", "").split(":")
    return [f"{directory}/{name}" if directory else name for directory in directories]


def check(args: list[str], env: list[str]) -> None:
    """Raise ExecuteError when the command does not exist."""
    if not any(os.path.exists(path) for path in candidates(args, parse_environment(env))):
        raise missing(args)


def missing(args: list[str]) -> ExecuteError:
    """Return the error for a command that does not exist."""
    name = args[0] if args else ""
    where = "no such file" if "/" in name else "executable file not found in $PATH"
    return ExecuteError(127, f'exec: "{name}": {where}')


class ExecuteError(Exception):
    """A command that cannot be started; `code` is the exit code that a shell would give."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
