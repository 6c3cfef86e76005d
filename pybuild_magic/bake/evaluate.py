"""Evaluation of HCL expressions. Values are Python's own; a name is looked up only when its value is needed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, cast

from ..errors import UsageError
from .directives import For, If, nested
from .hcl import Expression, heredoc, template, unescape

Function = Callable[..., Any]


class Names(Protocol):
    """The meanings of the names in an expression."""

    def variable(self, name: str) -> Any:
        """Return the value of a name. Raises UsageError for an unknown name."""
        ...

    def function(self, name: str) -> Function:
        """Return a function by name. Raises UsageError for an unknown name."""
        ...


class Local:
    """Names with additional local ones: those of a `for`, a function or a matrix."""

    def __init__(self, bindings: Mapping[str, Any], names: Names) -> None:
        self._more = bindings
        self._names = names

    def variable(self, name: str) -> Any:
        """See Names."""
        return self._more[name] if name in self._more else self._names.variable(name)

    def function(self, name: str) -> Function:
        """See Names."""
        return self._names.function(name)


def evaluate(expression: Expression, names: Names) -> Any:
    """Return the value of an expression. Raises UsageError."""
    if expression.is_json:
        return _json(expression.value, names)
    return _tree(expression.tree, names)


def _json(value: Any, names: Names) -> Any:
    if isinstance(value, str):
        return _template(value, names)
    if isinstance(value, list):
        return [_json(item, names) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {to_text(_template(key, names)): _json(item, names) for key, item in items}
    return value


def to_text(value: Any) -> str:
    """Return a value as text, for a template. Raises UsageError for a value that has no text form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, str | int):
        return str(value)
    kind = "null" if value is None else "a list" if isinstance(value, list) else "an object"
    raise UsageError(f"A {kind} cannot be used as text.")


def to_number(value: Any) -> int | float:
    """Return a number, also from the text of one. Raises UsageError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f"{value!r} is not a number.") from None
        return int(number) if number.is_integer() else number
    raise UsageError(f"{value!r} is not a number.")


def to_bool(value: Any) -> bool:
    """Return a condition, also from the texts `true` and `false`. Raises UsageError."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise UsageError(f"{value!r} is neither true nor false.")


def _template(text: str, names: Names) -> Any:
    return _filled(template(text), names)


def _filled(parts: list[Any], names: Names, *, flush: bool = False) -> Any:
    values = _values(nested(parts, flush=flush), names)
    # A template of a single part keeps the type of its value, unless a directive wrote it.
    return _join(values) if len(parts) == 1 else "".join(map(to_text, values))


def _values(parts: list[Any], names: Names) -> list[Any]:
    """Return the values of a template's parts, in their order."""
    values: list[Any] = []
    for part in parts:
        match part:
            case str():
                values.append(part)
            case If(condition, then, otherwise):
                values += _values(then if to_bool(_tree(condition, names)) else otherwise, names)
            case For(variables, collection, body):
                for key, value in _pairs(_tree(collection, names)):
                    inner = Local(dict(zip(reversed(variables), (value, key), strict=False)), names)
                    values += _values(body, inner)
            case _:
                values.append(_tree(_trees(part.children)[0] if part.data == "interpolation" else part, names))
    return values


def _join(parts: list[Any]) -> Any:
    """Return the value of a template: a single interpolation as it is, anything else as text."""
    return parts[0] if len(parts) == 1 else "".join(map(to_text, parts))


def _tree(tree: Any, names: Names) -> Any:
    return _RULES[tree.data](_significant(tree), names)


def _significant(tree: Any) -> list[Any]:
    return [child for child in tree.children if getattr(child, "data", "") != "new_line_or_comment"]


def _trees(children: Iterable[Any]) -> list[Any]:
    return [child for child in children if hasattr(child, "data")]


def _term(children: list[Any], names: Names) -> Any:
    (inner,) = _trees(children)
    return _tree(inner, names)


def _literal(children: list[Any], _: Names) -> Any:
    return {"true": True, "false": False, "null": None}[str(children[0])]


def _identifier(children: list[Any], names: Names) -> Any:
    return names.variable(str(children[0]))


def _string(children: list[Any], names: Names) -> Any:
    parts: list[Any] = []
    for part in _trees(children):
        inner = part.children[0]
        if not hasattr(inner, "data"):
            text = str(inner)
            parts.append(text[1:] if text.startswith(("$${", "%%{")) else unescape(text))
        else:
            parts.append(inner)
    return _filled(parts, names) if parts else ""


def _heredoc(children: list[Any], names: Names) -> Any:
    text, flush = heredoc(str(children[0]))
    return _filled(template(text), names, flush=flush)


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right,
    "%": operator.mod,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def same(left: Any, right: Any) -> bool:
    """Return whether two values are equal in HCL's sense, where true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _binary(children: list[Any], names: Names) -> Any:
    first_operand, term = _trees(children)
    sign, right = _trees(_significant(term))
    name = str(sign.children[0])
    first = _tree(first_operand, names)
    if name in ("&&", "||"):
        value = to_bool(first)
        return to_bool(_tree(right, names)) if value == (name == "&&") else value
    second = _tree(right, names)
    if name in ("==", "!="):
        return same(first, second) == (name == "==")
    try:
        value = _OPERATORS[name](to_number(first), to_number(second))
    except ZeroDivisionError:
        raise UsageError("A number cannot be divided by zero.") from None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unary(children: list[Any], names: Names) -> Any:
    value = _tree(children[1], names)
    return not to_bool(value) if str(children[0]) == "!" else -to_number(value)


def _conditional(children: list[Any], names: Names) -> Any:
    condition, consequence, alternative = _trees(children)
    return _tree(consequence if to_bool(_tree(condition, names)) else alternative, names)


def _tuple(children: list[Any], names: Names) -> Any:
    return [_tree(child, names) for child in _trees(children)]


def _object(children: list[Any], names: Names) -> Any:
    value: dict[str, Any] = {}
    for element in _trees(children):
        key, item = _trees(_significant(element))
        value[_key(key, names)] = _tree(item, names)
    return value


def _key(tree: Any, names: Names) -> str:
    """Return a bare name as it is, or the value of `(name)`."""
    inner = tree.children[0]
    if inner.data == "keyword":
        return str(inner.children[0])
    children = _significant(inner)
    if inner.data == "expr_term" and len(children) == 1 and children[0].data == "identifier":
        return str(children[0].children[0])
    return to_text(_tree(inner, names))


def _call(children: list[Any], names: Names) -> Any:
    name = "::".join(str(child.children[0]) for child in _trees(children) if child.data == "identifier")
    node = next((child for child in _trees(children) if child.data == "arguments"), None)
    arguments = _significant(node) if node is not None else []
    if name in ("try", "can"):
        return _try(name, [child for child in arguments if hasattr(child, "data")], names)
    if name == "convert":
        return _convert(_trees(arguments), names)
    values = [_tree(child, names) for child in _trees(arguments)]
    if any(str(child) == "..." for child in arguments if not hasattr(child, "data")):
        values[-1:] = as_list(values[-1])
    function = names.function(name)
    try:
        return function(*values)
    except UsageError as error:
        raise UsageError(f"{name}(): {error.message}", hint=error.hint) from None
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise UsageError(f"{name}() cannot be computed: {error}.") from None


def _try(name: str, arguments: list[Any], names: Names) -> Any:
    for argument in arguments:
        try:
            value = _tree(argument, names)
        except UsageError:
            continue
        return True if name == "can" else value
    if name == "can":
        return False
    raise UsageError("try(): none of the expressions can be evaluated.")


def _convert(arguments: list[Any], names: Names) -> Any:
    if len(arguments) != 2:
        raise UsageError(f"convert() takes a value and a type, but was given {len(arguments)} arguments.")
    return converted(_tree(arguments[0], names), arguments[1])


def converted(value: Any, kind: Any) -> Any:
    """Return a value as one of a type, `kind` being the tree of that: `string`, `list(number)`. Raises UsageError."""
    head, *parts = [str(token) for token in kind.scan_values(_is_word)]
    inner = next(iter(kind.find_data("arguments")), None)
    of = _trees(_significant(inner))[0] if inner is not None else None
    if value is None or head == "any":
        return value
    if head in _SIMPLE and not parts:
        return _SIMPLE[head](value)
    if head in ("list", "set", "tuple") and isinstance(value, list):
        items = cast("list[Any]", value)
        items = items if of is None or head == "tuple" else [converted(item, of) for item in items]
        return sorted_set(items) if head == "set" else items
    if head in ("map", "object") and isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {key: item if of is None or head == "object" else converted(item, of) for key, item in entries.items()}
    raise UsageError(f"{value!r} cannot be converted to {head}.")


def _is_word(token: Any) -> bool:
    return str(token).isidentifier()


def sorted_set(values: list[Any]) -> list[Any]:
    """Return values without those that are there twice, in the order of HCL's sets."""
    unique: list[Any] = []
    for value in values:
        unique += [] if any(same(value, other) for other in unique) else [value]
    return sorted(unique, key=lambda value: (isinstance(value, str), value))


_SIMPLE: dict[str, Callable[[Any], Any]] = {"string": to_text, "number": to_number, "bool": to_bool}


def as_list(value: Any) -> list[Any]:
    """Return a list. Raises UsageError for another type."""
    if not isinstance(value, list):
        raise UsageError(f"{value!r} is not a list.")
    return cast("list[Any]", value)


def index(value: Any, key: Any) -> Any:
    """Return an element of a list or an object. Raises UsageError when it does not exist."""
    if isinstance(value, list):
        number = to_number(key)
        elements = cast("list[Any]", value)
        if isinstance(number, int) and 0 <= number < len(elements):
            return elements[number]
    elif isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value)
        if to_text(key) in items:
            return items[to_text(key)]
    raise UsageError(f"There is no element {key!r}.")


def _index(children: list[Any], names: Names) -> Any:
    value, at = children
    return _step(_tree(value, names), at, names)


def _step(value: Any, at: Any, names: Names) -> Any:
    """Follow `[expression]`, `.0` or `.name`."""
    if at.data == "braces_index":
        return index(value, _tree(_trees(_significant(at))[0], names))
    if at.data == "short_index":
        return index(value, int(str(at.children[1])))
    return index(value, str(at.children[1].children[0]))


def _splat(children: list[Any], names: Names) -> Any:
    value, splat = children
    elements = _tree(value, names)
    many = cast("list[Any]", elements if isinstance(elements, list) else [] if elements is None else [elements])
    results: list[Any] = []
    for element in many:
        item = element
        for at in _trees(splat.children):
            item = _step(item, at, names)
        results.append(item)
    return results


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, list):
        return enumerate(cast("list[Any]", value))
    if isinstance(value, Mapping):
        return sorted(cast("Mapping[str, Any]", value).items())
    raise UsageError(f"{value!r} has no elements to iterate over.")


def _rounds(children: list[Any], names: Names) -> Iterable[tuple[Names, list[Any]]]:
    """Yield the names of each round of a `for` whose condition holds, and the trees of its result."""
    intro, *results = _trees(children)
    condition = next((tree for tree in results if tree.data == "for_cond"), None)
    trees = [tree for tree in results if tree.data != "for_cond"]
    heads = _trees(_significant(intro))
    variables = [str(tree.children[0]) for tree in heads[:-1]]
    for key, value in _pairs(_tree(heads[-1], names)):
        inner = Local(dict(zip(reversed(variables), (value, key), strict=False)), names)
        if condition is None or to_bool(_tree(_trees(_significant(condition))[-1], inner)):
            yield inner, trees


def _for_tuple(children: list[Any], names: Names) -> Any:
    return [_tree(trees[0], inner) for inner, trees in _rounds(children, names)]


def _for_object(children: list[Any], names: Names) -> Any:
    grouped = any(str(child) == "..." for child in children if not hasattr(child, "data"))
    value: dict[str, Any] = {}
    for inner, (key, item) in _rounds(children, names):
        name = to_text(_tree(key, inner))
        if grouped:
            value.setdefault(name, []).append(_tree(item, inner))
        elif name in value:
            raise UsageError(
                f"Two items have the key {name!r}.", hint="Use `=> value...` to collect their values in lists."
            )
        else:
            value[name] = _tree(item, inner)
    return value


_RULES: dict[str, Callable[[list[Any], Names], Any]] = {
    "expr_term": _term,
    "literal_value": _literal,
    "int_lit": lambda children, _: int(str(children[0])),
    "float_lit": lambda children, _: float(str(children[0])),
    "identifier": _identifier,
    "string": _string,
    "template_string": lambda children, _: str(children[0]).strip('\\"'),
    "heredoc_template": _heredoc,
    "heredoc_template_trim": _heredoc,
    "binary_op": _binary,
    "unary_op": _unary,
    "conditional": _conditional,
    "tuple": _tuple,
    "object": _object,
    "function_call": _call,
    "index_expr_term": _index,
    "get_attr_expr_term": _index,
    "attr_splat_expr_term": _splat,
    "full_splat_expr_term": _splat,
    "for_tuple_expr": _for_tuple,
    "for_object_expr": _for_object,
}
"""By the names of python-hcl2's grammar."""
