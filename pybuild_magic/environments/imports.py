"""The imports in the code of a notebook, from its syntax tree, and the distributions that provide them."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UsageError
from .installed import Environment, normalised

_MAGIC = re.compile(r"^(\s*)(?:[%!].*|(?:[\w, ]+=\s*)[%!].*|.*\?{1,2}\s*)$")
_EXTENSION = re.compile(r"^\s*%(?:load_ext|reload_ext)\s+([\w.]+)|^\s*%(matplotlib|pylab)\b", re.MULTILINE)
_MODULES = {"matplotlib": "matplotlib", "pylab": "matplotlib", "": ""}
_TIMED = re.compile(r"^(\s*)(?:[\w, ]+=\s*)?%time\s+(.+)$")
_PYTHON_CELLS = ("time", "timeit", "capture", "prun")


class Imports(msgspec.Struct, frozen=True):
    """The imports of code: names of top-level modules, and lines whose module is only known at run time."""

    modules: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    """`cell 3: importlib.import_module(name)`."""
    unread: tuple[str, ...] = ()
    """Places where the code is not Python."""


class _Notebook(msgspec.Struct):
    cells: list[dict[str, Any]]
    metadata: dict[str, Any] = {}


class Used(msgspec.Struct, frozen=True):
    """The distributions that provide the imports, and modules that neither those nor Python provide."""

    distributions: tuple[str, ...]
    elsewhere: tuple[str, ...]


def imports_of(sources: Iterable[tuple[str, str]]) -> Imports:
    """Return the imports in sources; each source is a place, such as `cell 3`, and its text, which may have magics."""
    modules: set[str] = set()
    unknown: list[str] = []
    unread: list[str] = []
    for place, text in sources:
        for extension, other in _EXTENSION.findall(text):
            modules.add((extension or _MODULES[other]).partition(".")[0])
        code = _without_magics(text)
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError):
            unread.append(place)
            continue
        importers = {"__import__", "import_module", *_other_names(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Call) and _imports(node.func, importers):
                if name := _imported(node):
                    modules.add(name)
                else:
                    unknown.append(f"{place}: {ast.unparse(node)[:80]}")
    return Imports(tuple(sorted(modules - {""})), tuple(unknown), tuple(unread))


def providers(environment: Environment, paths: Iterable[str] | None = None) -> Mapping[str, Iterable[str]]:
    """Return the distributions by top-level module: those of this process, or of the directories `paths`."""
    providers_of: dict[str, list[str]] = {}
    if paths is None:
        providers_of |= importlib.metadata.packages_distributions()
    else:
        for distribution in importlib.metadata.distributions(path=list(paths)):
            files = (file for file in distribution.files or () if file.suffix in (".py", ".so"))
            names = {file.parts[0].partition(".")[0] for file in files}
            for name in names | set((distribution.read_text("top_level.txt") or "").split()):
                providers_of.setdefault(name, []).append(distribution.metadata["Name"])
    for name, distribution in environment.items():
        if distribution.origin is not None and distribution.origin.editable:
            for module in _linked(name, distribution.location):
                providers_of.setdefault(module, []).append(name)
    return providers_of


def used(imports: Imports, environment: Environment, providers: Mapping[str, Iterable[str]]) -> Used:
    """Return the distributions that provide the imported modules, using `providers`."""
    distributions: set[str] = set()
    elsewhere: list[str] = []
    for module in imports.modules:
        names = {normalised(name) for name in providers.get(module, ())} & environment.keys()
        distributions |= names
        if not names and module not in sys.stdlib_module_names and module != "__future__":
            elsewhere.append(module)
    return Used(tuple(sorted(distributions)), tuple(elsewhere))


def notebook_sources(path: Path) -> list[tuple[str, str]]:
    """Return the code cells of a notebook, or the text of a script, with their places. Raises UsageError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UsageError(f"The notebook {path} cannot be read: {reason}.") from None
    if path.suffix == ".py":
        return [(path.name, text)]
    cells: list[Any] = notebook_of(text, path)["cells"]
    sources: list[tuple[str, str]] = []
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") == "code":
            source: str | list[str] = cell.get("source", "")
            sources.append((f"{path.name}, cell {number}", source if isinstance(source, str) else "".join(source)))
    return sources


def notebook_of(text: str, path: Path, hint: str = "Give an .ipynb file of format 4, or a .py file.") -> dict[str, Any]:
    """Return the document of a notebook. Raises UsageError for anything else."""
    try:
        document: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        msgspec.convert(document, type=_Notebook)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise UsageError(f"{path} is not a notebook.", hint=hint) from None
    return document


def _linked(name: str, location: str) -> Iterator[str]:
    """Yield the modules in the directories that an editable distribution adds to the path, of which it has no record.

    A line of a `.pth` file is such a directory, unless it is code (the documentation of `site`).
    """
    for distribution in importlib.metadata.distributions(name=name, path=[location]):
        for file in distribution.files or ():
            if file.suffix != ".pth":
                continue
            lines = Path(str(file.locate())).read_text("utf-8", "replace").splitlines()
            for line in lines:
                folder = Path(location, line)
                if line and not line.startswith(("#", "import ", "import\t")) and folder.is_dir():
                    yield from (entry.name.partition(".")[0] for entry in folder.iterdir() if _is_module(entry))


def _is_module(path: Path) -> bool:
    return path.suffix in (".py", ".so") or (path.is_dir() and path.name.isidentifier())


def _other_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names under which code imports `import_module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "importlib":
            yield from (alias.asname for alias in node.names if alias.name == "import_module" and alias.asname)


def _imports(function: ast.expr, importers: Collection[str]) -> bool:
    """Return whether a call of `function` imports the module named by its first argument."""
    if isinstance(function, ast.Name):
        return function.id in importers
    return isinstance(function, ast.Attribute) and function.attr in ("import_module", "__import__")


def _imported(call: ast.Call) -> str:
    """Return the top-level module that a call imports, or "" if only running it tells."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    name = call.args[0] if call.args else keywords.get("name")
    package = call.args[1] if len(call.args) > 1 else keywords.get("package")
    values = [node.value if isinstance(node, ast.Constant) else None for node in (name, package)]
    whole = values[1] if isinstance(values[0], str) and values[0].startswith(".") else values[0]
    return whole.partition(".")[0] if isinstance(whole, str) else ""


def _without_magics(text: str) -> str:
    """Return the Python of a cell: lines in IPython's own syntax become `pass`, a cell in another language nothing."""
    first, _, rest = text.lstrip().partition("\n")
    if first.startswith("%%"):
        words = first[2:].split(maxsplit=1)
        if not words or words[0] not in _PYTHON_CELLS:
            return ""
        text = rest
    timed = [_TIMED.sub(r"\1\2", line) for line in text.splitlines()]
    lines = [f"{match[1]}pass" if (match := _MAGIC.match(line)) else line for line in timed]
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return "\n".join(lines)
    return text  # a line inside of a string that looks like a magic
