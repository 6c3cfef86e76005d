"""The table of the commands of `%build`, and their help."""

from __future__ import annotations

from ..api.policy import source_policy
from ..builders import choose
from ..diagnosis import Report
from ..diagnosis import doctor as examine
from ..display.table import Document
from ..errors import UsageError, nearest
from ..portable import kind_of, user_path
from ..request.command import equivalent_command
from ..request.flags import ParsedFlags, beside, flag_lines
from ..request.options import BuildOptions
from ..request.solve_request import compile_request
from ..request.table import OPTIONS
from ..request.values import is_remote
from .background_commands import commit, enter, logs, ps, stop, volumes
from .builder_commands import list_builders, use
from .cells import export_cell, ignore, import_file
from .command import Command, command
from .environment_commands import environment, test
from .image_commands import diff, images, inspect, load, remove, save, share, slim
from .imagetools_command import imagetools
from .kernel_commands import kernel, kernels
from .lock_command import lock
from .repository_command import repository
from .run_command import run
from .sbom_command import sbom
from .store_commands import collect_garbage, disk_usage, fsck, history, prune


@command("doctor")
def doctor(_flags: ParsedFlags) -> Report:
    """Report how well builds run on this machine, and what would improve it."""
    return examine()


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        images, inspect, remove, disk_usage, prune, collect_garbage, history, fsck, doctor, load, save,
        list_builders, use, export_cell, import_file, ignore, lock, imagetools,
        run, ps, logs, stop, enter, commit, volumes, kernel, kernels,
        repository, slim, share, diff, environment, test, sbom,
    )
}  # fmt: skip
"""The commands by name, in the order of help."""


def find(word: str) -> Command | None:
    """Return the command that a line begins with; None for a flag or a context. Raises `UsageError` for other words."""
    if word in COMMANDS or word.startswith("-") or is_remote(word) or kind_of(user_path(word)):
        return COMMANDS.get(word)
    suggestion = nearest(word, list(COMMANDS))
    raise UsageError(
        f"%build has no command {word!r}, and there is no such directory to build.",
        hint=f"Did you mean %build {suggestion}?" if suggestion else "%build --help lists the commands.",
    )


def dry_run(options: BuildOptions) -> Document:
    """Return the request that the options mean, and the docker command that means the same.

    Raises the errors that a build raises before its first step.
    """
    from ..dockerfile.parser import parse

    if options.dockerfile is not None:
        parse(options.dockerfile)
    request = compile_request(options, choose(options.builder).driver, policy=source_policy(options))
    return Document((("SolveRequest", request.to_json()), ("The same with docker", equivalent_command(options))))


def help_page() -> Document:
    """Return all flags and commands, a line each."""
    lines = [
        "%%build [FLAGS] [CONTEXT]".ljust(44) + "build the Dockerfile in the cell",
        "%build -f Dockerfile [FLAGS] [CONTEXT]".ljust(44) + "build a Dockerfile on disk",
        "%build COMMAND".ljust(44) + "manage images, the cache, kernels and more",
        "",
        "CONTEXT is a directory (by default the notebook's), a Git or HTTP URL, - for none,",
        "or $name, a dict {path: str | bytes}. $name and {expr} are expanded in the line, never in the cell.",
        "",
        "Commands",
    ]
    lines += [
        line for command in COMMANDS.values() for line in beside(f"  {command.name} {command.line}", command.about)
    ]
    lines += ["", "Flags", *flag_lines(OPTIONS)]
    return Document((("", "\n".join(lines)),))
