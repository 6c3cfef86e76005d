"""Source policies: rules that allow, deny or replace the sources of a build, with the meaning that BuildKit gives them.

`EXPERIMENTAL_BUILDKIT_SOURCE_POLICY` names a file with a policy, and a `Dockerfile.lock` is such a file. A rule that
pins an image looks like this:

    {"action": "CONVERT",
     "selector": {"identifier": "docker-image://docker.io/library/busybox:latest"},
     "updates": {"identifier": "docker-image://docker.io/library/busybox:latest@sha256:…"}}

Source: BuildKit's sourcepolicy package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ..errors import BuildError, UsageError
from ..golang.regex import to_python
from .ops import Edge, Node, SourceOp, walk

_ACTIONS = ("ALLOW", "DENY", "CONVERT")
_MATCHES = ("WILDCARD", "EXACT", "REGEX")
_CONDITIONS = ("EQUAL", "NOTEQUAL", "MATCHES")
"""These names are in the order of their numbers in protobuf, which may take their place in JSON."""
_MOST_CONVERSIONS = 20
"""How often one source may be replaced, as in BuildKit: rules can replace each other's results endlessly."""


class Constraint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition on one attribute of a source."""

    key: str = ""
    value: str = ""
    condition: str = "EQUAL"


class Selector(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sources that a rule applies to: those that match the identifier and meet all constraints."""

    identifier: str = ""
    match_type: str = "WILDCARD"
    constraints: tuple[Constraint, ...] = ()


class Update(msgspec.Struct, frozen=True, omit_defaults=True):
    """The source with which CONVERT replaces another; an empty identifier stands for the selector's."""

    identifier: str = ""
    attrs: dict[str, str] = {}


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """An action, and the sources to which it applies."""

    selector: Selector
    action: str = "ALLOW"
    updates: Update | None = None


class SourcePolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rules, in order. A conversion takes effect at once; of the rules that allow and deny, the last one decides."""

    rules: tuple[Rule, ...] = ()
    version: int = 1


def decode(data: bytes, name: str) -> SourcePolicy:
    """Read the policy in the JSON (with protobuf's names) of the file `name`. Raises UsageError for anything else."""
    try:
        document = msgspec.json.decode(data)
        for rule in document.get("rules") or ():
            _spell(rule, "action", _ACTIONS)
            selector = rule["selector"]
            _spell(selector, "match_type", _MATCHES)
            for constraint in selector.get("constraints") or ():
                _spell(constraint, "condition", _CONDITIONS)
        return msgspec.convert(document, SourcePolicy)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        if isinstance(error, AttributeError | TypeError):
            reason = "its rules are not a list of objects"
        raise UsageError(
            f"{name} is not a source policy: {reason}.", hint='Write JSON such as {"rules": [{"action": "DENY", …}]}.'
        ) from None


def _spell(where: dict[str, Any], key: str, names: Sequence[str]) -> None:
    """Replace the number of an enum's value with its name."""
    value = where.get(key, names[0])
    value = names[value] if isinstance(value, int) and 0 <= value < len(names) else value
    if value not in names:
        raise ValueError(f"{key} is {value!r}, not one of {', '.join(names)}")
    where[key] = value


def evaluate(policy: SourcePolicy, op: SourceOp) -> SourceOp:
    """Return the source that takes the place of `op`, or `op` itself. Raises BuildError when it is denied."""
    for _ in range(_MOST_CONVERSIONS + 1):
        converted = _once(policy, op)
        if converted == op:
            return op
        op = converted
    raise BuildError("too many mutations on a single source: too many operations")


def _once(policy: SourcePolicy, op: SourceOp) -> SourceOp:
    denied = False
    for rule in policy.rules:
        if not _selects(rule.selector, op):
            continue
        if rule.action == "CONVERT":
            converted = _convert(rule, op)
            if converted != op:
                return converted
        else:
            denied = rule.action == "DENY"
    if denied:
        raise BuildError(
            f'source "{op.identifier}" denied by policy: source denied by policy',
            hint="A source policy, or the lock of the Dockerfile, does not allow it.",
        )
    return op


def _selects(selector: Selector, op: SourceOp) -> bool:
    if not all(_holds(constraint, op.attrs) for constraint in selector.constraints):
        return False
    if selector.identifier == op.identifier:
        return True
    pattern = _pattern(selector)
    return pattern is not None and pattern.search(op.identifier) is not None


def _holds(constraint: Constraint, attrs: Mapping[str, str]) -> bool:
    value = attrs.get(constraint.key, "")
    if constraint.condition == "MATCHES":
        return _compiled(constraint.value).search(value) is not None
    return (value == constraint.value) == (constraint.condition == "EQUAL")


def _convert(rule: Rule, op: SourceOp) -> SourceOp:
    if rule.updates is None:
        raise BuildError("error mutating source policy: missing destination for convert rule")
    replacement = rule.updates.identifier or rule.selector.identifier
    pattern = _pattern(rule.selector)
    if pattern is None:
        identifier = replacement
    elif rule.selector.match_type == "REGEX":
        identifier = pattern.sub(lambda match: _expand(replacement, match), op.identifier)
    else:
        match = pattern.search(op.identifier)
        identifier = _expand(replacement, match) if match else op.identifier
    return SourceOp(identifier or op.identifier, {**op.attrs, **rule.updates.attrs})


def _pattern(selector: Selector) -> re.Pattern[str] | None:
    """Return the regular expression of a selector; None when its identifier is to be matched exactly."""
    if selector.match_type == "EXACT":
        return None
    if selector.match_type == "REGEX":
        return _compiled(selector.identifier)
    if "**" in selector.identifier:
        raise BuildError(f'failed to translate wildcard "{selector.identifier}" to regexp: invalid wildcard: "**"')
    return _wildcard(selector.identifier)


@lru_cache(256)
def _wildcard(text: str) -> re.Pattern[str]:
    return re.compile("(.*)".join(map(re.escape, text.split("*"))).join((r"\A", r"\Z")))


@lru_cache(256)
def _compiled(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(to_python(expression))
    except BuildError:
        raise BuildError(f'error matching source policy: invalid regex "{expression}"') from None


_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})", re.ASCII)


def _expand(template: str, match: re.Match[str]) -> str:
    """Fill in `$1`, `${1}` and `$name` as Go's Expand does: a group without a match is empty, and `$$` is `$`."""

    def value(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if not name:
            return "$"
        try:
            return match[int(name) if name.isdecimal() else name] or ""
        except IndexError:
            return ""

    return _REFERENCE.sub(value, template)


def rewrite(policy: SourcePolicy, edges: Sequence[Edge | None]) -> list[Edge | None]:
    """Return the edges of a graph with the policy applied to its sources.

    Raises the BuildError of the first source that is denied, with the place of its instruction.
    """
    if not policy.rules:
        return list(edges)
    known: dict[int, Node] = {}
    for node in walk(*edges):
        op, inputs = node.op, tuple(_moved(edge, known) for edge in node.inputs)
        if isinstance(op, SourceOp):
            try:
                op = evaluate(policy, op)
            except BuildError as error:
                raise BuildError(
                    f"failed to load LLB: error evaluating the source policy: {error.message}",
                    location=node.location,
                    hint=error.hint,
                ) from None
        same = op is node.op and all(new is old for new, old in zip(inputs, node.inputs, strict=True))
        known[id(node)] = node if same else msgspec.structs.replace(node, op=op, inputs=inputs)
    return [_moved(edge, known) if edge else None for edge in edges]


def _moved(edge: Edge, known: Mapping[int, Node]) -> Edge:
    node = known[id(edge.node)]
    return edge if node is edge.node else Edge(node, edge.output)


def merged(*policies: SourcePolicy | None) -> SourcePolicy | None:
    """Return one policy with the rules of all, in order; None when no policy is given."""
    present = [policy for policy in policies if policy is not None]
    return SourcePolicy(tuple(rule for policy in present for rule in policy.rules)) if present else None
