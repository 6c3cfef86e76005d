"""Completion in a shell: a script that asks `pybuild __complete`, and what that answers from the tables."""

from __future__ import annotations

from ..errors import UsageError
from ..request.flags import Kind

_BASH = """\
_pybuild() {
    local IFS=$'\\n'
    COMPREPLY=($(pybuild __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
}
complete -o default -F _pybuild pybuild
"""
_ZSH = f"autoload -U +X bashcompinit && bashcompinit\n{_BASH}"
_FISH = """\
complete -c pybuild -a '(pybuild __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """Return the script that makes a shell complete: `eval "$(pybuild completion bash)"`. Raises UsageError."""
    if shell not in SCRIPTS:
        raise UsageError(
            f"pybuild completion takes {', '.join(SCRIPTS)}.", hint='Such as: eval "$(pybuild completion bash)"'
        )
    return SCRIPTS[shell]


def candidates(words: list[str]) -> list[str]:
    """Return completions for the last of `words`, which are those after `pybuild`."""
    from .commands import table

    commands, word = table(), words[-1] if words else ""
    if len(words) < 2:
        return [name for name in commands if name.startswith(word)]
    command = commands.get(words[0])
    if command is None:
        return []
    known = {f"--{flag.name}": flag for flag in command.flags}
    known |= {f"-{flag.short}": flag for flag in command.flags if flag.short}
    name, equals, value = word.partition("=")
    before = known.get(words[-2]) if len(words) > 2 else None
    if equals and name in known:
        return [f"{name}={choice}" for choice in known[name].choices if choice.startswith(value)]
    if before is not None and before.kind is not Kind.BOOL:
        return [choice for choice in before.choices if choice.startswith(word)] or _images(
            word, before.name in ("tag", "in", "base")
        )
    if word.startswith("-"):
        return [flag for flag in sorted(known) if flag.startswith(word) and (flag.startswith("--") or flag == word)]
    return _images(word, command.images) + _runs(word, command.runs)


def _runs(word: str, wanted: bool) -> list[str]:
    from ..run.background import list_runs

    known = list_runs(ended=True) if wanted else []
    return [record.info.name for record in known if record.info.name.startswith(word)]


def _images(word: str, wanted: bool) -> list[str]:
    from ..editor.images import image_names

    return [name for name in image_names() if name.startswith(word)] if wanted else []
