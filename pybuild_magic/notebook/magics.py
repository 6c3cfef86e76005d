"""The IPython magics `%%build` and `%build`: a thin shell that turns cells into options, and options into calls.

Hardly more than IPython is imported here, so that `%load_ext` is quick; the first build imports the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from traitlets import Enum, Float, List, TraitError, Unicode, observe, validate

from ..request.progress import PROGRESS

if TYPE_CHECKING:
    from ..cancel import Cancel
    from ..request.options import BuildOptions

Files = Mapping[str, str | bytes]

_VARIABLE = re.compile(r"(?<!\S)\$(\w+)(?!\S)")
_LEFT = re.compile(r"(?<![\w$'])(\$(\w+)[\w.]*)")
"""A variable that is left after expansion: IPython could not evaluate it, and left the whole line alone."""


@magics_class
class BuildMagics(Magics):
    """`%%build` and `%build`, with their settings (`%config BuildMagics`)."""

    builder = Unicode("", help="The builder that is used when --builder is not given.").tag(config=True)
    progress = Enum(PROGRESS, "auto", help="How progress is shown when --progress is not given.").tag(config=True)

    cache = Unicode("", help="A reference that builds import their cache from and export it to.").tag(config=True)
    keep_storage = Unicode("", help="How large the store may be, such as 5g; off for any size.").tag(config=True)
    addresses = List(Unicode(), help="Addresses of more builders for %build builders to list.").tag(config=True)
    connect_timeout = Float(20.0, help="Seconds within which a builder has to answer.").tag(config=True)
    silence_timeout = Float(90.0, help="Seconds of silence after which a builder counts as gone.").tag(config=True)
    tls_cacert = Unicode("", help="PEM file of the authority of builders at tcp://.").tag(config=True)
    tls_cert = Unicode("", help="PEM file of the certificate to show to builders at tcp://.").tag(config=True)
    tls_key = Unicode("", help="PEM file of that certificate's key.").tag(config=True)
    tls_server_name = Unicode("", help="The name in the certificate of builders at tcp://.").tag(config=True)

    @validate("keep_storage")
    def _check_size(self, proposal: Any) -> str:
        from ..builders.settings import kept_storage
        from ..errors import UsageError

        try:
            kept_storage(proposal["value"])
        except UsageError as error:
            raise TraitError(str(error)) from None
        return proposal["value"]

    @observe(
        "keep_storage",
        "addresses",
        "connect_timeout",
        "silence_timeout",
        "tls_cacert",
        "tls_cert",
        "tls_key",
        "tls_server_name",
    )
    def _configure(self, change: Any) -> None:
        from ..builders.settings import configure

        value: Any = change["new"]
        configure(**{change["name"]: tuple(value) if change["name"] == "addresses" else value})

    @no_var_expand
    @line_cell_magic
    def build(self, line: str, cell: str | None = None) -> Any:
        """Build the Dockerfile in the cell, or with `-f Dockerfile` one on disk, or run a command.

        `%%build [FLAGS] [CONTEXT]` takes the flags of `docker buildx build`; a line that ends in a backslash continues
        on the next. `%build --help` lists all flags, and the commands that manage images, the cache, kernels and more;
        `%build COMMAND --help`, or `%build COMMAND?`, lists the flags of a command.
        """
        from ..errors import Interrupted
        from ..request.flags import parse_flags
        from ..request.parse import options_from
        from ..request.table import OPTIONS
        from . import commands
        from .cells import remember

        while cell and line.endswith("\\"):
            # A line of many flags continues on the next one, as in a shell.
            continuation, _, cell = cell.partition("\n")
            line = f"{line[:-1].rstrip()} {continuation.strip()}"
        if match := re.match(r"(run|exec)(?=\s|\Z)", line):
            return self._run(match[1], line[match.end() :], cell)
        words, context = self._words(line)
        if words[:1] in (["--help"], ["-h"]) or (cell is None and not words and context is None):
            return commands.help_page()
        try:
            if cell is None and words:
                command = commands.find(words[0])
                if command:
                    return command(words[1:])
            if cell is not None:
                remember(cell)
                if words[:1] == ["lock"]:
                    from .lock_command import lock_dockerfile

                    return lock_dockerfile(words[1:], cell, context)
            options = options_from(parse_flags(words, OPTIONS), dockerfile=cell, context=context)
            return self._build(self._with_settings(options, words))
        except KeyboardInterrupt:
            raise Interrupted("The build was interrupted.") from None

    @no_var_expand
    @line_cell_magic
    def bake(self, line: str, cell: str | None = None) -> Any:
        """Build the targets of Bake files (`docker-bake.hcl`, its JSON, Compose files), or of the one in the cell.

        `%bake [flags] [target...]` takes the flags of `docker buildx bake`; `%bake --help` lists them.
        """
        from ..errors import Interrupted, RunError, UsageError
        from .bake_command import bake_line, targets

        words, files = self._words(line)
        if targets.asks_for_help(words):
            return targets.help()
        if files is not None:
            raise UsageError("A Bake file says which context each target has.", hint="Leave the dict out.")
        settings = [f"--builder={self.builder}"] if self.builder else []
        settings += [f"--progress={self.progress}"] if not any(w.startswith("--progress") for w in words) else []
        try:
            return bake_line([*settings, *words], cell)
        except RunError as error:
            if error.step_ref and {"--debug", "-D"} & set(words):
                from .debugging import show_state

                show_state(error)
            raise
        except KeyboardInterrupt:
            raise Interrupted("The build was interrupted.") from None

    def _words(self, line: str) -> tuple[list[str], Files | None]:
        """Return the words of the line, variables expanded, and the dict of files that one of them names, if any."""
        from ..errors import UsageError
        from ..portable import split_words

        shell = cast("Any", self.shell)
        contexts: list[Files] = []

        def take(match: re.Match[str]) -> str:
            value = shell.user_ns.get(match[1])
            if not isinstance(value, Mapping):
                return _name_of(value) or match[0]
            contexts.append(cast("Files", value))
            return ""

        line = _VARIABLE.sub(take, line)
        if len(contexts) > 1:
            raise UsageError("A build takes one context, but the line names several dicts.")
        # Depth 3: this method, `build` and `run_cell_magic` stand between IPython and the user's frame.
        expanded = shell.var_expand(line, depth=3)
        for word, name in _LEFT.findall(expanded):
            if name in shell.user_ns and expanded == line:
                raise UsageError(f"{word} cannot be expanded.", hint=f"Write {{{name}}}, or put it in single quotes.")
        try:
            return split_words(expanded), contexts[0] if contexts else None
        except ValueError as error:
            raise UsageError(f"The line cannot be split into words: {error}.", hint="Check its quotes.") from None

    def _run(self, name: str, line: str, cell: str | None) -> Any:
        from .commands import COMMANDS
        from .run_command import run_line

        command = COMMANDS[name]
        if (name == "run" and not line.strip()) or command.asks_for_help(line.split()):
            return command.help()
        shell = cast("Any", self.shell)
        # Depth 5: `run_line`, this method, `build` and `run_cell_magic` stand between IPython and the user's frame.
        return run_line(command, line, cell, shell.user_ns, lambda text: shell.var_expand(text, depth=5))

    def _with_settings(self, options: BuildOptions, words: list[str]) -> BuildOptions:
        import msgspec

        from ..request.values import CacheEntry

        changes: dict[str, Any] = {}
        if self.builder and not options.builder:
            changes["builder"] = self.builder
        if self.cache and not (options.cache_from or options.cache_to):
            # A user who may not push there can still read it.
            to = {"ref": self.cache, "mode": "max", "ignore-error": "true"}
            changes["cache_from"] = (CacheEntry("registry", {"ref": self.cache}),)
            changes["cache_to"] = (CacheEntry("registry", to),)
        if not any(word.startswith("--progress") for word in words):
            changes["progress"] = self.progress
        return msgspec.structs.replace(options, **changes)

    def _build(self, options: BuildOptions) -> Any:
        from ..api.run import run
        from ..cancel import Cancel
        from ..display import open_progress
        from ..errors import RunError
        from .commands import dry_run
        from .environment_commands import show_comparison

        if options.dry_run:
            return dry_run(options)
        self._tell_of_collections(options)
        cancel = Cancel()
        shell = cast("Any", self.shell)
        if options.background:
            return self._start(options, cancel)
        try:
            result: Any = run(options, open_progress(options, cancel), cancel)
        except RunError as error:
            if options.debug and error.step_ref:
                from .debugging import show_state

                show_state(error)
            raise
        if options.call.method != "build":
            from ..display.calls import call_result

            result = call_result(options.call.method, options.call.format, result.metadata["result.json"])
        if options.call.method == "build":
            show_comparison(result, options.tags)
        if options.into:
            shell.user_ns[options.into] = result
        if options.quiet and options.call.method == "build":
            from ..untrusted.printable import visible

            if result.image_id:
                print(visible(result.image_id))
            # Not by setting `_`: once its value is not the shell's own, the shell never updates it again.
            shell.displayhook.update_user_ns(result)
            return None
        return result

    def _tell_of_collections(self, options: BuildOptions) -> None:
        from ..builders import EMBEDDED, choose, embedded_builder
        from ..display.collected import tell, tell_waiting

        tell_waiting()
        if choose(options.builder).name == EMBEDDED:
            embedded_builder().collector.tell = tell

    def _start(self, options: BuildOptions, cancel: Cancel) -> Any:
        from ..api.background import BuildHandle
        from ..display import open_progress
        from ..display.console import in_kernel

        # In a terminal, the user goes on typing during the build.
        shows_progress = in_kernel() or options.progress != "auto"
        progress = open_progress(options, cancel, background=True) if shows_progress else None
        handle = BuildHandle(options, progress, cancel)
        if options.into:
            cast("Any", self.shell).user_ns[options.into] = handle
        return handle


def _name_of(value: object) -> str:
    """Return the name of an image that a variable holds, or of the image that a build made; "" if it holds none."""
    from ..oci import reference
    from ..result import BuildResult, Image

    image = value.image if isinstance(value, BuildResult) else value
    return reference.parse(image.names[0]).familiar if isinstance(image, Image) and image.names else ""


LOADED = "pybuild_magic.loaded"
"""The target of the comm by which pages see that a kernel has the extension."""


def load_ipython_extension(shell: Any) -> None:
    """Register the magics with IPython, and in a kernel the comm by which pages ask about results."""
    from .completion import register

    shell.register_magics(BuildMagics)
    register(shell)
    kernel = getattr(shell, "kernel", None)
    if kernel is not None and hasattr(kernel, "comm_manager"):
        kernel.comm_manager.register_target("pybuild_magic", _answer)
        _show_oneself(kernel.comm_manager)


def _show_oneself(manager: Any) -> None:
    """Let pages see that this kernel answers: asking a kernel that does not would put an error into its log.

    Jupyter lists the comms of a kernel but not its targets, so one comm stands for the target.
    """
    from comm import create_comm

    if not any(channel.target_name == LOADED for channel in manager.comms.values()):
        manager.register_comm(create_comm(target_name=LOADED, primary=False))


def _answer(comm: Any, message: Any) -> None:
    from ..display.service import connect, service
    from .debugging import files_of, terminal_of
    from .kernel_commands import kernel_of

    service().add("kernel", kernel_of)
    service().add("terminal", terminal_of)
    service().add("failed_files", files_of)
    connect(comm, message)
