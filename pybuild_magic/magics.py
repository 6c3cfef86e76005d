"""The IPython magics `%%build` and `%build`: a thin shell that turns cells into options, and options into calls."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from traitlets import Unicode

from .errors import UsageError
from .flags import parse_flags
from .options import BuildOptions, options_from

if TYPE_CHECKING:
    from .result import BuildResult

_VARIABLE = re.compile(r"\$(\w+)")


@magics_class
class BuildMagics(Magics):
    """`%%build` and `%build`, with their settings (`%config BuildMagics`)."""

    builder = Unicode("", help="The builder that is used when --builder is not given.").tag(config=True)
    progress = Unicode("auto", help="How progress is shown when --progress is not given.").tag(config=True)

    @no_var_expand
    @line_cell_magic
    def build(self, line: str, cell: str | None = None) -> Any:
        """Build the Dockerfile in the cell, or with `-f Dockerfile`, or run a command of the store.

        `%%build [flags] [context]` takes the flags of `docker buildx build`. `%build COMMAND` has `images`,
        `inspect REF`, `du`, `prune`, `rm REF`, `history`, `fsck`. `%build --help` lists everything.
        """
        from . import commands

        words, context = self._words(line)
        if words[:1] == ["--help"]:
            return commands.help_page()
        if cell is None and words and words[0] in commands.COMMANDS:
            return commands.COMMANDS[words[0]](words[1:])
        options = options_from(parse_flags(words), dockerfile=cell, context=context)
        return self._build(self._with_settings(options, words))

    def _words(self, line: str) -> tuple[list[str], Mapping[str, str | bytes] | None]:
        """The words of the line, variables expanded; and the dict that it names as its context, if one."""
        shell = cast("Any", self.shell)
        context: Mapping[str, str | bytes] | None = None
        head, _, last = line.rstrip().rpartition(" ")
        match = _VARIABLE.fullmatch(last)
        if match and isinstance(shell.user_ns.get(match[1]), Mapping):
            line, context = head, shell.user_ns[match[1]]
        try:
            # Depth 3: this method, `build`, and IPython's decorator stand between here and the user's frame.
            return shlex.split(shell.var_expand(line, depth=3)), context
        except ValueError as error:
            raise UsageError(f"The line cannot be split into words: {error}.", hint="Check its quotes.") from None

    def _with_settings(self, options: BuildOptions, words: list[str]) -> BuildOptions:
        import msgspec

        changes: dict[str, str] = {}
        if self.builder and not options.builder:
            changes["builder"] = self.builder
        if not any(word.startswith("--progress") for word in words):
            changes["progress"] = self.progress
        return msgspec.structs.replace(options, **changes)

    def _build(self, options: BuildOptions) -> BuildResult | Any:
        from .api import run
        from .commands import dry_run
        from .display import open_progress

        if options.dry_run:
            return dry_run(options)
        result = run(options, open_progress(options))
        shell = cast("Any", self.shell)
        if options.into:
            shell.user_ns[options.into] = result
        if options.quiet:
            print(result.image_id or "")
            shell.user_ns["_"] = result
            return None
        return result


def load_ipython_extension(shell: Any) -> None:
    """Register the magics with IPython."""
    shell.register_magics(BuildMagics)
