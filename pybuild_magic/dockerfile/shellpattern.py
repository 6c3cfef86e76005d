r"""The pattern modifiers of a substitution: `${x#p}`, `${x##p}`, `${x%p}`, `${x%%p}`, `${x/p/r}`, `${x//p/r}`.

A pattern is POSIX's without bracket expressions: `*`, `?`, and `\` before one of `*?\` (and before `}` and `/`, where
the backslash just keeps the substitution from ending).
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..errors import DockerfileError

_TEMPLATE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


def remove_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """Return the value without the shortest, or longest, prefix that matches the pattern."""
    match = re.match(_regex(pattern, longest), value)
    return value[match.end() :] if match else value


def remove_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """Return the value without the shortest, or longest, suffix that matches the pattern.

    Both are reversed, because a regular expression finds the leftmost match and not the shortest.
    """
    return remove_prefix(value[::-1], _reversed(pattern), longest=longest)[::-1]


def replace(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """Return the value with the first match, or every match, replaced; matches are as long as possible.

    `$0` and the like in the replacement are only special when every match is replaced, as in BuildKit, which uses Go's
    `ReplaceAllString` then.
    """
    regex = _regex(pattern, longest=True)
    if not everywhere:
        match = regex.search(value)
        return value[: match.start()] + replacement + value[match.end() :] if match else value
    out: list[str] = []
    done, last_end = 0, -1
    for match in regex.finditer(value):
        if match.end() == match.start() == last_end:
            continue
        out += (value[done : match.start()], _fill(replacement, match[0]))
        done = last_end = match.end()
    return "".join([*out, value[done:]])


def _fill(template: str, matched: str) -> str:
    def part(match: re.Match[str]) -> str:
        return "$" if match[1] else matched if (match[2] or match[3]) == "0" else ""

    return _TEMPLATE.sub(part, template)


@lru_cache(maxsize=256)
def _regex(pattern: str, longest: bool) -> re.Pattern[str]:
    """Return the expression of a pattern, which takes no more than the product of its length and the text's to match.

    The text between two stars is matched where it first occurs, without backtracking: a later position would leave less
    room for the rest. Only the last part determines the length of the match.
    """
    parts = [""]
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            parts.append("")
        elif char == "?":
            parts[-1] += "."
        elif char == "\\":
            following = pattern[position : position + 1]
            if following and following in "}/":
                continue
            if not following or following not in "*?\\":
                raise DockerfileError(
                    f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following or chr(0xFFFD)}'"
                )
            parts[-1] += re.escape(following)
            position += 1
        else:
            parts[-1] += re.escape(char)
    if len(parts) == 1:
        return re.compile(parts[0])
    middle = "".join(f"(?>.*?{part})" for part in parts[1:-1] if part)
    return re.compile(f"{parts[0]}{middle}.*{'' if longest else '?'}{parts[-1]}")


def _reversed(pattern: str) -> str:
    pieces = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join(reversed(pieces))
