"""The way from the blocks of Bake files to targets: variables, functions, matrices, inheritance, groups and overrides.

Source: buildx's bake package. Tests compare the results with `docker buildx bake --print`.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from ..errors import UsageError, nearest
from ..golang.json import dumps
from ..request.values import split_csv
from .evaluate import Function, Local, Names, as_list, evaluate, to_bool, to_number, to_text
from .functions import FUNCTIONS, MISSING
from .hcl import Block, Body, Expression
from .overrides import boolean, changed
from .values import FIELDS, Target, merge

_LISTS, _MAPS = ("list", "set", "tuple"), ("map", "object")
"""The types of variables whose values are lists and objects."""
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


class Variable(msgspec.Struct, frozen=True):
    """A variable as `bake --list=variables` has it; `value` is None for null."""

    name: str
    type: str
    value: str | None
    description: str = ""


class Config:
    """The contents of several Bake files together: a later block adds to an earlier one of the same name.

    `environ` has the variables that override defaults; `builtin` has buildx's own, such as BAKE_LOCAL_PLATFORM.
    """

    def __init__(self, bodies: Sequence[Body], environ: Mapping[str, str], builtin: Mapping[str, str]) -> None:
        self._environ = environ
        self._values: dict[str, Any] = dict(builtin)
        self._busy: list[str] = []
        self._globals: dict[str, Expression] = {}
        self._variables: dict[str, list[Block]] = {}
        self._functions: dict[str, Block] = {}
        self._made: dict[str, Function] = {}
        self.groups: dict[str, list[str]] = {}
        self._blocks: dict[str, list[tuple[Block, Names]]] = {}
        self._others: dict[str, list[Target]] = {}
        """Targets from Compose files, which no HCL block describes."""
        self.described: dict[str, str] = {}
        """The descriptions of groups and targets."""
        blocks = [block for body in bodies for block in body.blocks]
        self._labels = {(block.kind, block.label) for block in blocks if "name" not in block.attributes}
        for body in bodies:
            self._globals |= body.attributes
        for block in blocks:
            if block.kind == "variable":
                self._variables.setdefault(block.label, []).append(block)
            elif block.kind == "function":
                self._functions[block.label] = block
        for name in self._variables:
            self.variable(name)
            self._validate(name)
        for block in blocks:
            if block.kind == "target":
                self._add_target(block)
            elif block.kind == "group":
                self._add_group(block)
            elif block.kind not in ("variable", "function"):
                raise UsageError(f"A Bake file cannot have a block {block.kind!r}.", hint=_near(block.kind))

    # Names

    def variable(self, name: str) -> Any:
        """See Names."""
        if name in self._values:
            return self._values[name]
        if name in ("target", "group"):
            return _Blocks(self, name)
        if name not in self._globals and name not in self._variables:
            suggestion = nearest(name, [*self._globals, *self._variables])
            raise UsageError(
                f"There is no variable {name!r}.", hint=f"Did you mean {suggestion}?" if suggestion else ""
            )
        if name in self._busy:
            raise UsageError(f"The variable {name} depends on itself: {' → '.join([*self._busy, name])}.")
        self._busy.append(name)
        try:
            value = self._compute(name)
        finally:
            self._busy.pop()
        self._values[name] = value
        return value

    def variables(self) -> tuple[Variable, ...]:
        """Return those that files declare, by their names."""
        return tuple(self._declared(name) for name in sorted(self._variables))

    def _declared(self, name: str) -> Variable:
        attributes: dict[str, Expression] = {}
        for block in self._variables[name]:
            attributes |= block.attributes
        value = self.variable(name)
        default = value if value is None or isinstance(value, str) else dumps(value).decode()
        about = attributes.get("description")
        return Variable(
            name, _told_type(attributes.get("type")), default, to_text(evaluate(about, self)) if about else ""
        )

    def _compute(self, name: str) -> Any:
        if name in self._globals:
            return evaluate(self._globals[name], self)
        attributes: dict[str, Expression] = {}
        for block in self._variables[name]:
            attributes |= block.attributes
        kind = _type_of(attributes.get("type"))
        default = evaluate(attributes["default"], self) if "default" in attributes else None if kind else ""
        if kind and f"{name}_JSON" not in self._variables and (text := self._environ.get(f"{name}_JSON")) is not None:
            return _from_json(name, text, kind)
        text = self._environ.get(name)
        if text is None:
            return default
        if kind in _MAPS:
            raise UsageError(f"The variable {name} is of type {kind}.", hint=f"Set {name}_JSON to its JSON instead.")
        if kind in _LISTS or (not kind and isinstance(default, list)):
            if not text:
                raise UsageError(
                    f"The variable {name} is a list, for which an empty text is no value.",
                    hint=f"Set {name}_JSON=[] for an empty list.",
                )
            words = split_csv(text, f"The variable {name}")
            numbers = _told_type(attributes.get("type")).endswith(" of number")
            return [to_number(word) for word in words] if numbers else words
        if kind == "bool" or (not kind and isinstance(default, bool)):
            return boolean(name, text)
        if kind == "number" or (not kind and isinstance(default, int | float)):
            return to_number(text)
        return text

    def _validate(self, name: str) -> None:
        for block in self._variables[name]:
            for rule in block.blocks:
                if rule.kind == "validation" and not to_bool(evaluate(rule.attributes["condition"], self)):
                    message = rule.attributes.get("error_message")
                    reason = to_text(evaluate(message, self)) if message else "its validation fails"
                    raise UsageError(f"The variable {name} is not valid: {reason.rstrip('.')}.")

    def function(self, name: str) -> Function:
        """See Names."""
        if name in FUNCTIONS:
            return FUNCTIONS[name]
        if name in MISSING:
            raise UsageError(f"{name}() is not known here. {MISSING[name]}")
        if name not in self._functions:
            suggestion = nearest(name, [*self._functions, *FUNCTIONS])
            raise UsageError(
                f"There is no function {name!r}.", hint=f"Did you mean {suggestion}?" if suggestion else ""
            )
        if name not in self._made:
            self._made[name] = self._function(name, self._functions[name])
        return self._made[name]

    def _function(self, name: str, block: Block) -> Function:
        result = block.attributes.get("result")
        if result is None or "params" not in block.attributes:
            raise UsageError(f"The function {name} needs params and result.")
        params = _words(block.attributes["params"])
        variadic = _words(block.attributes["variadic_params"]) if "variadic_params" in block.attributes else []

        def call(*values: Any) -> Any:
            if len(values) < len(params) or (len(values) > len(params) and not variadic):
                raise UsageError(f"it takes {len(params)} arguments, but was given {len(values)}.")
            bindings = dict(zip(params, values, strict=False))
            if variadic:
                bindings[variadic[0]] = list(values[len(params) :])
            return evaluate(result, Local(bindings, self))

        return call

    # Blocks

    def _add_group(self, block: Block) -> None:
        for name in ("matrix", "name"):
            if name in block.attributes:
                raise UsageError(f"{name} is not supported for groups.")
        members = block.attributes.get("targets")
        names = as_list(evaluate(members, self)) if members is not None else []
        self.groups[_checked(block.label)] = [to_text(name) for name in names]
        if "description" in block.attributes:
            self.described[block.label] = to_text(evaluate(block.attributes["description"], self))

    def _add_target(self, block: Block) -> None:
        label = _checked(block.label)
        names: list[str] = []
        for scope in self._matrix(block):
            named = block.attributes.get("name")
            if named is not None and "matrix" not in block.attributes:
                raise UsageError(f"The target {label} has a name and no matrix: name requires matrix.")
            name = _checked(to_text(evaluate(named, scope))) if named is not None else label
            if name in names:
                raise UsageError(
                    f"The matrix of {label} makes two targets called {name!r}.",
                    hint="Set name = … so that each gets a name of its own.",
                )
            names.append(name)
            self._blocks.setdefault(name, []).append((block, scope))
        if names != [label]:
            self.groups[label] = [*self.groups.get(label, []), *names]

    def _matrix(self, block: Block) -> list[Names]:
        if "matrix" not in block.attributes:
            return [self]
        matrix = evaluate(block.attributes["matrix"], self)
        if not isinstance(matrix, dict):
            raise UsageError(f"The matrix of {block.label} must be a map.")
        columns = cast("dict[str, Any]", matrix)
        for key, values in columns.items():
            if not isinstance(values, list | dict):
                raise UsageError(f"{key} in the matrix of {block.label} must be a list.")
        rows = itertools.product(*(as_list(list(values)) for values in reversed(columns.values())))
        keys = list(reversed(columns))
        return [Local(dict(zip(keys, row, strict=True)), self) for row in rows]

    def has(self, kind: str, name: str) -> bool:
        """Return whether `target.NAME` or `group.NAME` stands for something."""
        return (kind, name) in self._labels or name in (self.groups if kind == "group" else self._blocks)

    def attribute(self, kind: str, name: str, attribute: str) -> Any:
        """Return the value that a block gives to an attribute, for `target.NAME.ATTRIBUTE`. Raises UsageError."""
        if attribute == "name":
            return name
        if kind == "group":
            return self.groups.get(name, []) if attribute == "targets" else None
        step = f"{kind}.{name}.{attribute}"
        if step in self._busy:
            raise UsageError(f"reference cycle not allowed for {step}")
        self._busy.append(step)
        try:
            for block, scope in reversed(self._blocks.get(name, [])):
                if attribute in block.attributes:
                    return evaluate(block.attributes[attribute], scope)
        finally:
            self._busy.pop()
        return FIELDS[attribute].empty() if attribute in FIELDS else None

    def add(self, name: str, target: Target) -> None:
        """Add a target from a Compose file, which no HCL block describes."""
        self._others.setdefault(name, []).append(target)
        self._blocks.setdefault(name, [])

    def _own(self, name: str) -> Target:
        """Return a target as its own blocks define it, without inherited fields."""
        own: Target = {}
        for target in self._others.get(name, []):
            own = merge(own, target)
        for block, scope in self._blocks[name]:
            own = merge(own, _fields(name, block, scope))
        return own

    def listing(self) -> tuple[tuple[str, str, bool], ...]:
        """Return targets and groups by name: what each is for, and whether it is a group. Those of `_` are private."""
        entries = [(name, str(self._own(name).get("description", "")), False) for name in self._blocks]
        for name, members in self.groups.items():
            names, about = ", ".join(sorted(set(members))), self.described.get(name, "")
            entries.append((name, f"{about} ({names})" if about and names else about or names, True))
        return tuple(sorted(entry for entry in entries if not entry[0].startswith("_")))

    # Resolution

    def resolve(self, names: Sequence[str], overrides: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, Target]]:
        """Return the groups and targets that the given names need. Raises UsageError.

        `overrides` are the values of `--set`: `TARGET.FIELD=VALUE`, where TARGET may be a pattern.
        """
        changes = self._overrides(overrides)
        names = list(dict.fromkeys(name for pattern in names or ["default"] for name in self._matching(pattern)))
        targets: dict[str, Target] = {}
        groups: dict[str, list[str]] = {}
        for name in names:
            for member in self._expand(name, groups, {}):
                if member not in targets:
                    targets[member] = self._finish(member, changes)
        for name in names:
            if name != "default" or "default" not in groups:
                groups["default"] = [*groups.get("default", []), name]
        groups["default"] = sorted(set(groups["default"]))
        for name in list(targets):
            self._link(name, targets, changes, (name,))
        return groups, targets

    def _matching(self, pattern: str) -> list[str]:
        if not any(char in pattern for char in "*?[]"):
            return [re.sub(r"\.", "_", pattern)]
        matches = [name for name in [*self.groups, *self._blocks] if fnmatch.fnmatchcase(name, pattern)]
        if not matches:
            raise UsageError(f'could not find any target matching "{pattern}"')
        return list(dict.fromkeys(matches))

    def _expand(self, name: str, groups: dict[str, list[str]], visited: dict[str, list[str]]) -> list[str]:
        """Return the targets of a group, also by groups in it; a target is itself, also in a group of its name."""
        if name in visited:
            return visited[name]
        if name not in self.groups:
            return [name]
        visited[name] = []
        groups[name] = list(dict.fromkeys(self.groups[name]))
        expanded = [target for member in groups[name] for target in self._expand(member, groups, visited) or [member]]
        visited[name] = list(dict.fromkeys(expanded))
        return visited[name]

    def _finish(self, name: str, changes: Mapping[str, list[tuple[str, str, bool]]]) -> Target:
        target = self._inherited(name, changes, {}, ())
        target.pop("inherits", None)
        target["context"] = target.get("context", ".")
        target["dockerfile"] = target.get("dockerfile") or "Dockerfile"
        return target

    def _inherited(
        self,
        name: str,
        changes: Mapping[str, list[tuple[str, str, bool]]],
        known: dict[str, Target],
        above: tuple[str, ...],
    ) -> Target:
        if name not in self._blocks:
            suggestion = nearest(name, [*self.groups, *self._blocks])
            raise UsageError(f"failed to find target {name}", hint=f"Did you mean {suggestion}?" if suggestion else "")
        if name in known or name in above:
            return known.get(name, {})
        own = self._own(name)
        base: Target = {}
        for parent in own.get("inherits", []):
            base = merge(base, self._inherited(parent, changes, known, (*above, name)))
        base.pop("inherits", None)
        base.pop("description", None) if "description" in own else None
        target = changed(merge(base, own), changes.get(name, []))
        if target.get("network") == "host":
            target["entitlements"] = [*target.get("entitlements", []), "network.host"]
        known[name] = {key: FIELDS[key].normal(value) for key, value in target.items()}
        return dict(known[name])

    def _link(self, name: str, targets: dict[str, Target], changes: Any, above: tuple[str, ...]) -> None:
        """Resolve the targets that are contexts of others: they are built, but have no output."""
        for where in cast("dict[str, str]", targets[name].get("contexts", {})).values():
            other = where.removeprefix("target:")
            if other == where:
                continue
            if other in above:
                raise UsageError(f"infinite loop from {above[0]} to {other}")
            if other not in targets:
                targets[other] = {**self._finish(other, changes), "output": [{"type": "cacheonly"}]}
            self._link(other, targets, changes, (*above, other))
            inherited = [*targets[name].get("entitlements", []), *targets[other].get("entitlements", [])]
            if inherited:
                targets[name]["entitlements"] = list(dict.fromkeys(inherited))
            platforms, offered = targets[name].get("platforms", []), targets[other].get("platforms", [])
            if len(platforms) > 1 and len(offered) > 1 and not set(platforms) <= set(offered):
                raise UsageError(
                    f"target {other} can't be used by {name} because its platforms [{' '.join(platforms)}] are not a "
                    f"subset of [{' '.join(offered)}]"
                )

    def _overrides(self, words: Sequence[str]) -> dict[str, list[tuple[str, str, bool]]]:
        changes: dict[str, list[tuple[str, str, bool]]] = {}
        for word in words:
            key, equals, value = word.partition("=")
            plus = key.endswith("+")
            pattern, dot, path = key.removesuffix("+").partition(".")
            if not dot:
                raise UsageError(f"invalid override key {key}, expected target.name")
            if not equals and path.startswith("args."):
                if (value := self._environ.get(path.removeprefix("args."), "")) == "":
                    continue
            elif not equals:
                raise UsageError(f"invalid override {word}, expected target.name=value")
            names = [pattern] if pattern in self._blocks else fnmatch.filter(self._blocks, pattern)
            if not names:
                raise UsageError(f"could not find any target matching '{pattern}'")
            for name in names:
                changes.setdefault(name, []).append((path, value, plus))
        return changes


class _Blocks:
    """The value of `target` in an expression: `target.NAME.ATTRIBUTE` is evaluated when it is used."""

    def __init__(self, config: Config, kind: str, name: str = "") -> None:
        self._config = config
        self._kind = kind
        self._name = name

    def __contains__(self, key: str) -> bool:
        return True

    def __getitem__(self, key: str) -> Any:
        if self._name:
            return self._config.attribute(self._kind, self._name, key)
        if not self._config.has(self._kind, key):
            raise UsageError(f"There is no {self._kind} {key!r}.")
        return _Blocks(self._config, self._kind, key)


cast("Any", Mapping).register(_Blocks)


def _fields(name: str, block: Block, scope: Names) -> Target:
    target: Target = {}
    for key, expression in block.attributes.items():
        if key in ("matrix", "name"):
            continue
        if key not in FIELDS:
            if suggestion := nearest(key, list(FIELDS)):
                raise UsageError(f"The target {name} has no field {key!r}.", hint=f"Did you mean {suggestion}?")
            continue  # as buildx does, because its next version may know it
        value = evaluate(expression, scope)
        if value is not None:
            target[key] = FIELDS[key].read(value, f"{name}.{key}")
    return target


def _type_of(expression: Expression | None) -> str:
    """Return the outermost name of a type: `list` for `list(string)`; "" without a type."""
    if expression is None:
        return ""
    if expression.is_json:
        return str(expression.value).partition("(")[0]
    return next(iter(_identifiers(expression)), "")


def _from_json(name: str, text: str, kind: str) -> Any:
    """Return the value of a variable whose environment has it as JSON. Raises UsageError for another type."""
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise UsageError(f"The variable {name} cannot be read from JSON: {error}.") from error
    if kind != "any" and (isinstance(value, list), isinstance(value, dict)) != (kind in _LISTS, kind in _MAPS):
        raise UsageError(f"The variable {name} is not of type {kind} in {name}_JSON.")
    if kind == "number":
        return to_number(value)
    if kind == "bool":
        return to_bool(value)
    return to_text(value) if kind == "string" else value


def _told_type(expression: Expression | None) -> str:
    """Return a type as HCL writes it: `list of string`."""
    if expression is None:
        return ""
    names = re.findall(r"\w+", str(expression.value)) if expression.is_json else _identifiers(expression)
    end = next((at for at, name in enumerate(names) if name in ("object", "tuple")), len(names))
    return " of ".join("any type" if name == "any" else name for name in names[: end + 1])


def _words(expression: Expression) -> list[str]:
    """Return the bare names in a list, or a single bare name."""
    if expression.is_json:
        value = expression.value
        return [str(item) for item in (cast("list[Any]", value) if isinstance(value, list) else [value])]
    return _identifiers(expression)


def _identifiers(expression: Expression) -> list[str]:
    def is_name(token: object) -> bool:
        return str(token).isidentifier()

    return [str(token) for token in expression.tree.scan_values(is_name)]


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f'invalid target name "{name}": only "[a-zA-Z0-9_-]+" are allowed')
    return name


def _near(kind: str) -> str:
    suggestion = nearest(kind, ["target", "group", "variable", "function"])
    return f"Did you mean {suggestion}?" if suggestion else "Use target, group, variable or function."
