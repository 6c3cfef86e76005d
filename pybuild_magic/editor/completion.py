"""Completions in a `%%build` cell: in its Dockerfile, or on its line."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from ..dockerfile.interpret import FLAGS
from ..dockerfile.mount import MOUNT_TYPES, SHARINGS
from ..dockerfile.rules import RULES
from ..errors import BuildError
from ..golang.patternmatcher import PatternMatcher, read_ignore
from ..session import LocalDir
from . import help as docs
from .cell import BuildCell, context_of, read_cell
from .draft import Statement, read_draft
from .images import image_config, image_names
from .line import Operands, complete_line
from .offer import NOTHING, Offer, fields, offer, paths
from .scope import Scope

_VARIABLE = re.compile(r"\$(\{?)(\w*)\Z")
_COMMENT = re.compile(r"\s*#\s*(?:check\s*=\s*)(?:.*[=,;])?\s*(\w*)\Z", re.IGNORECASE)
_LABELS = ("title", "description", "version", "authors", "url", "source", "documentation", "vendor", "licenses")
SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2")
_PLATFORMS = ("$BUILDPLATFORM", "$TARGETPLATFORM", "linux/amd64", "linux/arm64", "linux/arm/v7")
_MOUNT_KEYS = {
    "bind": ("target", "source", "from", "rw"),
    "cache": ("target", "id", "sharing", "from", "source", "mode", "uid", "gid", "ro"),
    "tmpfs": ("target", "size"),
    "secret": ("id", "target", "env", "required", "mode", "uid", "gid"),
    "ssh": ("id", "target", "required", "mode", "uid", "gid"),
}
_BARE = frozenset({"rw", "ro", "required"})


class _Place(msgspec.Struct, frozen=True):
    """The position of the cursor in an instruction: its words so far, the last of which is incomplete."""

    keyword: str
    words: tuple[str, ...]
    word: str
    lower: bool


def complete(
    cell: str,
    offset: int,
    names: Mapping[str, object] | None = None,
    commands: Mapping[str, str] | None = None,
    operands: Operands | None = None,
) -> Offer | None:
    """Return completions at `offset` of a cell; None for a cell that is not a build.

    `names` are the user's variables, `commands` those of `%build`, each with its description, and `operands` returns
    what may follow them.
    """
    before = read_cell(cell[:offset])
    whole = read_cell(cell)
    if before is None or whole is None:
        return None
    in_line = before.magic == "%build" or cell.count("\n", 0, offset) < whole.head
    if in_line:
        offer = complete_line(before, read_draft(whole.body), names or {}, commands or {}, operands)
    else:
        offer = NOTHING if whole.is_script else _Body(whole, before.body, names or {}).complete()
    return msgspec.structs.replace(offer, fragment=cell[offset - len(offer.fragment) : offset])


class _Body:
    def __init__(self, cell: BuildCell, before: str, names: Mapping[str, object]) -> None:
        self._cell = cell
        self._names = names
        self._before = before
        self._line = before.rpartition("\n")[2]
        statements = read_draft(before)
        self._current: Statement | None = None
        here = before.count("\n") + 1
        if statements and (statements[-1].goes_on or (statements[-1].end == here and self._line.strip())):
            self._current = statements.pop()
        self._inside = bool(statements) and statements[-1].in_heredoc
        self._scope = Scope(statements, image_config)

    def complete(self) -> Offer:
        if self._line.lstrip().startswith("#"):
            return self._comment()
        current = self._current
        if self._inside or (current and current.in_heredoc):
            return NOTHING
        text = current.text if current else ""
        if text.upper().startswith("ONBUILD "):
            text = text[8:].lstrip()
        keyword, blank, rest = _split(text)
        if not blank:
            return self._keywords(keyword)
        words = re.split(r"\s+", rest)
        place = _Place(keyword.upper(), tuple(words[:-1]), words[-1], keyword.islower())
        if variable := _VARIABLE.search(place.word):
            return self._variables(place, variable)
        if place.word.startswith("-") and all(word.startswith("--") for word in place.words):
            return self._flag(place)
        return self._argument(place)

    def _comment(self) -> Offer:
        match = _COMMENT.fullmatch(self._line)
        if match is None:
            return offer(self._line.lstrip("# \t"), [("check=", "directive", "The build checks to run.")])
        keys = [("skip=", "option", ""), ("error=true", "option", ""), ("experimental=", "option", "")]
        rules = [(rule.name, "rule", rule.description) for rule in RULES.values()]
        after_key = re.search(r"(?:skip|experimental)\s*=[^;]*\Z", self._line)
        return offer(match[1], [*rules, ("all", "option", "")] if after_key else keys)

    def _keywords(self, word: str) -> Offer:
        lower = bool(word) and word == word.lower()
        known = [
            (name.lower() if lower else name, "instruction", entry.text) for name, entry in docs.INSTRUCTIONS.items()
        ]
        return offer(word, known)

    def _variables(self, place: _Place, match: re.Match[str]) -> Offer:
        scope = self._scope
        known = [*scope.global_args, *scope.platform_names] if place.keyword == "FROM" else scope.variables
        end = "}" if match[1] else ""
        return offer(match[2], [(name + end, "variable", "") for name in known])

    def _flag(self, place: _Place) -> Offer:
        flags = FLAGS.get(place.keyword, {})
        name, equals, value = place.word.partition("=")
        if not equals:
            known = docs.FLAGS.get(place.keyword, {})
            return offer(place.word, [(f"--{flag}=", "flag", known.get(flag, "")) for flag in flags])
        match name:
            case "--mount":
                return self._mount(value)
            case "--from":
                stages = [(stage, "stage", "") for stage in self._scope.stages]
                return offer(value, [*stages, *((image, "image", "") for image in image_names())])
            case "--platform":
                return offer(value, [(platform, "platform", "") for platform in _PLATFORMS])
            case "--network":
                return offer(value, [(mode, "value", "") for mode in ("default", "none", "host")])
            case "--security":
                return offer(value, [(mode, "value", "") for mode in ("sandbox", "insecure")])
            case "--link" | "--parents" | "--keep-git-dir" | "--unpack":
                return offer(value, [("true", "value", ""), ("false", "value", "")])
            case _:
                return NOTHING

    def _mount(self, value: str) -> Offer:
        *done, field = value.split(",")
        values = fields(done)
        key, equals, text = field.partition("=")
        kind = values.get("type", "bind")
        if not equals:
            keys = [] if "type" in values else ["type"]
            keys += [key for key in _MOUNT_KEYS.get(kind, ()) if key not in values]
            return offer(key, [(key if key in _BARE else f"{key}=", "option", "") for key in keys])
        if key == "type":
            return offer(text, [(kind, "mount", "") for kind in MOUNT_TYPES])
        if key == "sharing":
            return offer(text, [(sharing, "value", "") for sharing in SHARINGS])
        if key == "from":
            return offer(text, [(stage, "stage", "") for stage in self._scope.stages])
        if key in ("source", "src") and kind == "bind" and "from" not in values:
            return self._files(text)
        return NOTHING

    def _argument(self, place: _Place) -> Offer:
        words = [word for word in place.words if not word.startswith("--")]
        match place.keyword:
            case "FROM" if not words:
                stages = [(stage, "stage", "") for stage in self._scope.stages]
                images = [(image, "image", "") for image in image_names()]
                return offer(place.word, [*stages, *images, ("scratch", "image", "An empty base.")])
            case "FROM" if len(words) == 1:
                return offer(place.word, [("as" if place.lower else "AS", "keyword", "Names the stage.")])
            case "COPY" | "ADD" if not any(word.startswith("--from=") for word in place.words):
                return self._files(place.word)
            case "ARG":
                known = [*self._scope.global_args, *self._scope.platform_names]
                return offer(place.word, [(name, "variable", "") for name in dict.fromkeys(known)])
            case "ENV":
                return offer(place.word, [(f"{name}=", "variable", "") for name in self._scope.variables])
            case "LABEL":
                return offer(place.word, [(f"org.opencontainers.image.{name}=", "label", "") for name in _LABELS])
            case "HEALTHCHECK" if not words:
                return offer(place.word, [("CMD", "keyword", ""), ("NONE", "keyword", "")])
            case "STOPSIGNAL" if not words:
                return offer(place.word, [(name, "value", "") for name in SIGNALS])
            case _:
                return NOTHING

    def _files(self, word: str) -> Offer:
        source = context_of(self._cell, self._names)
        if source is None:
            return NOTHING
        ignored = _ignored(source)
        return paths(source, word, lambda path: ignored is None or not ignored.matches(path))


def _ignored(source: LocalDir) -> PatternMatcher | None:
    try:
        if source.stat(".dockerignore") is None:
            return None
        with source.open(".dockerignore") as file:
            patterns = read_ignore(file.read().decode("utf-8", "surrogateescape"))
        matcher = PatternMatcher(patterns)
    except (BuildError, OSError):
        return None
    return None if matcher.exclusions else matcher


def _split(text: str) -> tuple[str, str, str]:
    match = re.match(r"(\S*)(\s*)(.*)\Z", text, re.DOTALL)
    assert match
    return match[1], match[2], match[3]
