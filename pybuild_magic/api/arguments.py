"""The keyword arguments of `pybuild_magic.build` and `check`: the options of the table, with Python types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from ..errors import UsageError, nearest
from ..request.flags import Kind
from ..request.options import BuildOptions, Context
from ..request.parse import DEFAULTS, flags_of, options_from
from ..request.table import OPTIONS, Option

F = TypeVar("F", bound=Callable[..., Any])

_DEFAULTS: dict[str, Any] = {"progress": "plain"}
"""Defaults that differ from the command line's: in Python there may be no notebook in which to show a widget."""


class BuildArguments(TypedDict, total=False):
    """The types of the keyword arguments, for editors and type checkers. A test checks the names against the table."""

    file: str | Path
    outputs: str | Iterable[str]
    tags: str | Iterable[str]
    build_args: Mapping[str, str] | None
    build_contexts: Mapping[str, str] | None
    target: str
    platforms: str | Iterable[str] | None
    labels: Mapping[str, str] | None
    secrets: str | Iterable[str]
    ssh: str | Iterable[str]
    network: str
    add_hosts: Mapping[str, str] | None
    shm_size: str | int
    ulimits: str | Iterable[str]
    cgroup_parent: str
    resources: str | Iterable[str]
    allow: str | Iterable[str]
    cache_from: str | Iterable[str]
    cache_to: str | Iterable[str]
    attests: str | Iterable[str]
    provenance: str | bool | None
    sbom: str | bool | None
    locked: bool
    pull: bool
    push: bool
    load: bool
    no_cache: bool
    no_cache_filter: str | Iterable[str]
    annotations: str | Iterable[str]
    builder: str | None
    progress: str
    view: str
    metadata_file: str | Path
    iidfile: str | Path


def options_of(
    dockerfile: str | None = None, context: Context | Path = None, **arguments: Unpack[BuildArguments]
) -> BuildOptions:
    """Return the options that the arguments stand for. Raises UsageError for an unknown or malformed argument."""
    for name in arguments:
        if name not in BuildArguments.__annotations__:
            suggestion = nearest(name, list(BuildArguments.__annotations__))
            raise UsageError(
                f"build() has no argument {name!r}.", hint=f"Did you mean {suggestion}?" if suggestion else ""
            )
    if dockerfile is not None and arguments.get("file"):
        raise UsageError("file= has no meaning when the Dockerfile is given as text.", hint="Leave out one of the two.")
    where = str(context) if isinstance(context, Path) else context
    return options_from(flags_of({**_DEFAULTS, **arguments}), dockerfile=dockerfile, context=where)


def documented(function: F) -> F:
    """Write the keyword arguments, with their defaults and the table's descriptions, into the help of `function`.

    Type checkers read `Unpack[BuildArguments]`; help() and notebooks read this.
    """
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    rows = {option.argument: option for option in OPTIONS}
    named = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=_default(rows[name]), annotation=annotation.__forward_arg__
        )
        for name, annotation in BuildArguments.__annotations__.items()
    ]
    lines = [f":param {name}: {rows[name].doc} (`{_flag(rows[name])}`)." for name in BuildArguments.__annotations__]
    function.__signature__ = signature.replace(parameters=[*own, *named])  # pyright: ignore[reportFunctionMemberAccess]
    function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n" + "\n".join(lines)
    return function


def _default(option: Option) -> Any:
    if option.argument in _DEFAULTS:
        return _DEFAULTS[option.argument]
    if option.shorthand:
        return False if option.kind is Kind.BOOL else None
    return DEFAULTS[option.field]


def _flag(option: Option) -> str:
    return f"--{option.name} {option.metavar}".strip()
