"""Completion in a shell: a script that calls `pybuild __complete`, and that command's answers, from the tables."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UsageError
from ..notebook.command import Syntax

_BASH = """\
_pybuild() {
    local line=${COMP_LINE:0:COMP_POINT} breaks=${COMP_WORDBREAKS//[^=:]/} kept= words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    # bash replaces only what follows the last = or : of a word, but names and values of flags have them.
    [[ $breaks ]] && kept=${words[-1]%"${words[-1]##*[$breaks]}"}
    local IFS=$'\\n'
    COMPREPLY=($(pybuild __complete "${words[@]:1}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]] && compopt -o nospace
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
complete -o default -F _pybuild pybuild
"""
_ZSH = """\
autoload -U +X bashcompinit && bashcompinit
_pybuild() {
    local IFS=$'\\n'
    COMPREPLY=($(pybuild __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
}
complete -o default -F _pybuild pybuild
"""
_FISH = """\
complete -c pybuild -a '(pybuild __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
SYNTAX = Syntax(
    arguments="|".join(SCRIPTS),
    takes=", ".join(SCRIPTS),
    hint='For instance: eval "$(pybuild completion bash)"',
    words={name: Syntax() for name in SCRIPTS},
)


def script(shell: str) -> str:
    """Return the script that enables completion in a shell: `eval "$(pybuild completion bash)"`. Raises UsageError."""
    if shell not in SCRIPTS:
        raise UsageError(f"pybuild completion takes {SYNTAX.takes}.", hint=SYNTAX.hint)
    return SCRIPTS[shell]


def candidates(words: list[str], commands: Mapping[str, Syntax]) -> list[str]:
    """Return completions for the last of `words` (those after `pybuild`), except files, which the shell completes."""
    from ..notebook.operands import complete_words

    word = words[-1] if words else ""
    if len(words) < 2:
        return [name for name in commands if name.startswith(word)]
    syntax = commands.get(words[0])
    if syntax is None:
        return []
    offer = complete_words(words[:-1], word, syntax)
    before = word.removesuffix(offer.fragment)
    return [before + item.text for item in offer.items if item.kind not in ("file", "folder")]
