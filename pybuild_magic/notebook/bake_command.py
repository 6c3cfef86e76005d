"""`%bake` and `%%bake`: builds that are described by Bake files or by the cell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..api.bake import BakePlan, Source, call_of, plan
from ..api.bakefiles import Watch, split_words
from ..api.bakegrants import check
from ..api.baking import bake
from ..bake.targets import Variable
from ..cancel import Cancel
from ..display import open_progress
from ..display.table import Document, Table
from ..errors import UsageError, unwritable
from ..portable import user_path
from ..request.calls import exit_code
from ..request.flags import Flag, Kind, ParsedFlags
from ..request.options import BuildOptions
from ..request.table import OPTIONS
from ..request.values import Call, parse_call, split_csv
from ..result import BuildResult
from ..results.metadata import WARNINGS, metadata_file
from .command import command

_PASSED = ("builder", "quiet", "debug")
"""Flags that are passed on to each build."""
_SET = {
    "push": "push={}",
    "load": "load={}",
    "call": "call={}",
    "no-cache": "no-cache={}",
    "pull": "pull={}",
    "sbom": "attest=type=sbom,{}",
    "provenance": "attest=type=provenance,{}",
}
"""Flags that are shorthand for an override of all targets, with that override."""
FLAGS: tuple[Flag, ...] = (
    Flag("file", Kind.MANY, "PATH", "Bake or Compose file; by default docker-bake.hcl and the like", short="f"),
    Flag("set", Kind.MANY, "TARGET.KEY=VALUE", "Override a field of targets; TARGET may be a pattern"),
    Flag("var", Kind.MANY, "NAME=VALUE", "Set a variable"),
    Flag("allow", Kind.MANY, "PRIVILEGE", "Grant to targets: network.host, fs.read=PATH, fs.write=PATH, ssh, ..."),
    Flag("print", Kind.BOOL, "", "Show what would be built, without building"),
    Flag("list", Kind.ONE, "targets|variables", "List the targets and groups, or the variables; also with format=json"),
    Flag("metadata-file", Kind.ONE, "FILE", "Write the metadata of each target's build, as JSON"),
    Flag("check", Kind.BOOL, "", "Shorthand for --call=check"),
    *(option for option in OPTIONS if option.name in (*_PASSED, "progress", *_SET)),
)
"""The flags of `docker buildx bake`."""


class BakeResult(Mapping[str, BuildResult]):
    """The results of the targets that were built, by name."""

    def __init__(self, results: Mapping[str, BuildResult]) -> None:
        self._results = dict(results)

    def __getitem__(self, name: str) -> BuildResult:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def _table(self) -> Table:
        rows = tuple(
            (name, result.image.digest if result.image else "", ", ".join(result.image.names) if result.image else "")
            for name, result in self._results.items()
        )
        links = tuple(f"image {row[2].split(', ')[0]}" if row[2] else "" for row in rows)
        return Table(("TARGET", "IMAGE", "NAMES"), rows, opens=links)

    def __repr__(self) -> str:
        return repr(self._table())

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        table = self._table()
        return {"text/plain": repr(table), "text/html": table.html()}


class BakeAnswers:
    """The answers to `--call`, by the name of the target."""

    def __init__(self, answers: Mapping[str, tuple[str, Any]], exit_code: int = 0) -> None:
        self._answers = answers
        """The description and the answer of each target."""
        self.exit_code = exit_code
        """Of a command that prints them."""

    def __getitem__(self, name: str) -> Any:
        return self._answers[name][1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    @property
    def good(self) -> bool:
        """Whether no target has a problem."""
        return all(bool(answer) for _, answer in self._answers.values())

    def __repr__(self) -> str:
        parts = ["\n".join(filter(None, (name, about))) + f"\n\n{a!r}" for name, (about, a) in self._answers.items()]
        return "\n\n".join(parts)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from ..display.markup import join, tag

        sections = [
            join(tag.h4(name), tag.p(about) if about else None, answer.markup())
            for name, (about, answer) in self._answers.items()
        ]
        return {"text/plain": repr(self), "text/html": str(join(*sections))}


@command(
    "bake",
    "[TARGET...]",
    names=("target",),
    flags=FLAGS,
    forms={
        "%bake [FLAGS] [TARGET...]": "build the targets of docker-bake.hcl or another Bake file",
        "%%bake [FLAGS] [TARGET...]": "build the targets of the Bake file in the cell",
    },
)
def targets(flags: ParsedFlags) -> Any:
    """Build what Bake files describe, as docker buildx bake does."""
    return build_targets(flags)


def bake_line(words: Sequence[str], text: str | None = None) -> Any:
    """Carry out a line of words, with the Bake file in `text` when there is one. Raises BuildError."""
    return build_targets(targets.parse(words, "%bake"), text)


def build_targets(flags: ParsedFlags, text: str | None = None, watch: Watch = open_progress) -> Any:
    """Build the targets that the flags ask for, or only show them. Raises BuildError."""
    if flags.on("print") and flags.every("list"):
        raise UsageError("--print and --list are mutually exclusive")
    url, context, names = split_words(flags.arguments)
    passed = [f"--{name}={value}" for name in _PASSED for value in flags.values.get(name, [])]
    source = Source(flags.every("file") or _files_of(os.environ), text, url, context, passed)
    display = BuildOptions(progress=flags.last("progress", "auto"), quiet=flags.on("quiet"))
    cancel = Cancel()

    def reading(options: BuildOptions, cancel: Cancel) -> Any:
        about = msgspec.structs.replace(display, tags=(url,), builder=options.builder)
        return watch(about, cancel)

    overrides = [*flags.every("set"), *_overrides(flags)]
    bake_plan = plan(
        names or (["*"] if flags.every("list") else []),
        source,
        overrides=overrides,
        environ=_variables(flags),
        watch=reading,
        cancel=cancel,
    )
    if flags.every("list"):
        return _listed(bake_plan, flags.last("list"))
    if flags.on("print"):
        return Document((("", bake_plan.to_json()),))
    check(bake_plan.targets, flags.every("allow"), overrides)
    call = _call(flags)
    names = bake_plan.order()
    builder = flags.last("builder")
    about = msgspec.structs.replace(display, tags=tuple(names), builder=builder, call=call or display.call)
    results = bake(bake_plan, passed, watch(about, cancel), cancel)
    _write_metadata(flags, results)
    called = {name: method for name in names if (method := call_of(bake_plan.targets[name])) != "build"}
    if called:
        return _answers(bake_plan, results, called, call or Call())
    return BakeResult(results)


def _files_of(environ: Mapping[str, str]) -> list[str]:
    separator = environ.get("BUILDX_BAKE_PATH_SEPARATOR") or os.pathsep
    return [name.strip() for name in environ.get("BUILDX_BAKE_FILE", "").split(separator) if name.strip()]


def _variables(flags: ParsedFlags) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for word in flags.every("var"):
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UsageError(f'invalid variable "{word}", expected key=value')
        overrides[name] = value
    return {**os.environ, **overrides}


def _call(flags: ParsedFlags) -> Call | None:
    """Return the method that is called on all targets; None when no flag names one."""
    values = flags.every("call")
    if flags.on("check"):
        return parse_call("check")
    return parse_call(values[-1]) if values else None


def _overrides(flags: ParsedFlags) -> list[str]:
    words: list[str] = []
    for name, form in _SET.items():
        for value in flags.values.get(name, [])[-1:]:
            if name == "call":
                continue
            if name in ("push", "load") and not flags.on(name):
                continue
            plain = (
                {"true": "", "false": "disabled=true"}.get(value, value) if name in ("sbom", "provenance") else value
            )
            words.append(f"*.{form.format(plain).rstrip(',')}")
    call = _call(flags)
    if call is None or call.method == "build":
        return words
    return [*words, f"*.call={'lint' if call.method == 'check' else call.method}"]


def _listed(bake_plan: BakePlan, form: str) -> Table | Document:
    fields = {"type": form}
    if "=" in form:
        pairs = [word.partition("=") for word in split_csv(form, "--list")]
        fields = {key: value for key, _, value in pairs}
    kind, shape = fields.get("type", ""), fields.get("format", "table")
    if kind not in ("targets", "variables"):
        raise UsageError(f'invalid list type "{kind}"', hint="Use targets or variables.")
    if shape not in ("table", "json"):
        raise UsageError(f'invalid list format "{shape}"', hint="Use table or json.")
    if kind == "variables":
        if shape == "json":
            return Document((("", json.dumps([*map(_described, bake_plan.variables)], indent=2)),))
        rows = [(v.name, v.type, "<null>" if v.value is None else v.value, v.description) for v in bake_plan.variables]
        return Table(("VARIABLE", "TYPE", "VALUE", "DESCRIPTION"), tuple(rows))
    if shape == "json":
        entries = [
            {"name": name, **({"description": about} if about else {}), **({"group": True} if is_group else {})}
            for name, about, is_group in bake_plan.listing
        ]
        return Document((("", json.dumps(entries, indent=2)),))
    return Table(("TARGET", "DESCRIPTION"), tuple((name, about) for name, about, _ in bake_plan.listing))


def _described(variable: Variable) -> dict[str, str]:
    members = {
        "name": variable.name,
        "type": variable.type,
        "value": variable.value,
        "description": variable.description,
    }
    return {key: value for key, value in members.items() if value}


def _write_metadata(flags: ParsedFlags, results: Mapping[str, BuildResult]) -> None:
    for name in flags.every("metadata-file")[-1:]:
        document: dict[str, Any] = {}
        warnings: list[Any] = []
        for target, result in sorted(results.items()):
            own = {key: value for key, value in result.metadata.items() if key != WARNINGS}
            document[target] = msgspec.Raw(metadata_file(own))
            warnings += result.metadata.get(WARNINGS, ())
        if warnings:
            document[WARNINGS] = warnings
        try:
            user_path(name).write_bytes(metadata_file(document))
        except OSError as error:
            raise unwritable(f"--metadata-file {name}", error) from error


def _answers(bake_plan: BakePlan, results: Mapping[str, BuildResult], called: Mapping[str, str], call: Call) -> Any:
    from ..display.calls import call_result

    codes = [exit_code(results[name].metadata, ignore_status=call.ignore_status) for name in called]
    code = next(filter(None, codes), 0)
    if call.format == "json":
        document = json.loads(bake_plan.to_json())
        document["target"] = {name: {"build": target} for name, target in document["target"].items()}
        for name, method in called.items():
            document["target"][name][method] = json.loads(results[name].metadata["result.json"])
        return Document((("", json.dumps(document, indent=2)),), code)
    return BakeAnswers(
        {
            name: (
                str(bake_plan.targets[name].get("description", "")),
                call_result(method, "", results[name].metadata["result.json"]),
            )
            for name, method in sorted(called.items())
        },
        code,
    )
