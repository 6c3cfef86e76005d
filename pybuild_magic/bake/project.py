"""The files of a Compose project as one document: variables filled in, files merged, `include` and `extends` done.

The rules are those of compose-go's loader and merger, for what a build depends on; the rest is left out. Paths become
relative to the directory of the first file, as buildx has them.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ..errors import UsageError
from . import dotenv
from .evaluate import to_text
from .interpolation import Marked, fill

Read = Callable[[str], str | None]
"""Returns the text of a file by its path from the working directory; None when there is no such file."""
Document = dict[str, Any]

_SECTIONS = ("services", "secrets", "include")
_FIELDS = ("image", "build", "environment", "env_file", "extends")
_JOINED = {("build", "args"), ("build", "additional_contexts"), ("build", "labels"), ("environment",), ("env_file",)}
"""The fields of services whose values are joined, whether they are written as maps or as lists."""
_UNIQUE = {("build", "extra_hosts"), ("build", "tags"), ("build", "platforms")}
"""The fields that are joined without repetitions."""
_PROJECT = "COMPOSE_PROJECT_NAME"
_DEFAULT_PROJECT = "bake"


class Project:
    """Reads the files of a project with `read`."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def load(self, files: Sequence[tuple[str, str]], environ: Mapping[str, str]) -> tuple[Document, dict[str, str]]:
        """Return the document of all files, and the variables of the project. Raises UsageError."""
        own = self._read(".env")
        known = {**(dotenv.parse(own, ".env", environ) if own is not None else {}), **environ}
        if not known.get(_PROJECT):
            known[_PROJECT] = _project_name(files)
        document = self._merged(files, "", known, ())
        for name, service in _section(document, "services").items():
            service["environment"] = self._environment(name, service, known)
        return document, known

    def _merged(
        self, files: Sequence[tuple[str, str]], folder: str, environ: Mapping[str, str], included: tuple[str, ...]
    ) -> Document:
        document: Document = {}
        for name, text in files:
            for part in _documents(text, name):
                selected = _selected(fill(part, environ, ""), name)
                self._include(selected, folder, environ, (*included, name))
                services = _section(selected, "services")
                for service in list(services):
                    self._extend(services, service, folder, name, environ, ())
                document = _merge(document, selected, ())
        return document

    def _include(self, document: Document, folder: str, environ: Mapping[str, str], included: tuple[str, ...]) -> None:
        for entry in document.pop("include", None) or ():
            fields = cast("Document", entry) if isinstance(entry, dict) else {"path": entry}
            paths = _words(fields.get("path"))
            if not paths:
                raise UsageError(f"{included[-1]}: an include has no path.")
            near = to_text(fields["project_directory"]) if fields.get("project_directory") else None
            near = posixpath.dirname(paths[0]) if near is None else near
            place = posixpath.join(folder, near)
            names = [posixpath.normpath(posixpath.join(folder, path)) for path in paths]
            for name in names:
                if name in included:
                    raise UsageError(f"include cycle detected: {' includes '.join((*included, name))}")
            variables = dict(environ)
            for name, text in self._variables(fields, folder, place):
                variables = {**dotenv.parse(text, name, variables), **variables}
            more = self._merged([(name, self._text(name)) for name in names], place, variables, included)
            more = _placed(more, near, complete=True)
            for key in ("services", "secrets"):
                section = document.setdefault(key, {})
                for name, value in _section(more, key).items():
                    if section.get(name, value) != value:
                        raise UsageError(f"{key}.{name} conflicts with imported resource")
                    section[name] = value

    def _variables(self, fields: Document, folder: str, place: str) -> list[tuple[str, str]]:
        """Return the files of variables of an include: those that it names, or else the `.env` beside its file."""
        if not (names := _words(fields.get("env_file"))):
            text = self._read(own := posixpath.join(place, ".env"))
            return [] if text is None else [(own, text)]
        paths = [posixpath.join(folder, name) for name in names if name != "/dev/null"]
        return [(path, self._text(path)) for path in paths]

    def _extend(
        self,
        services: Document,
        name: str,
        folder: str,
        file: str,
        environ: Mapping[str, str],
        above: tuple[tuple[str, str], ...],
    ) -> Document:
        service: Document = services[name]
        extends = service.get("extends")
        if extends is None:
            return service
        if (file, name) in above:
            chain = " extends ".join(f"{service} in {place}" for place, service in (*above, (file, name)))
            raise UsageError(f"Circular reference: {chain}")
        fields = cast("Document", extends) if isinstance(extends, dict) else {"service": extends}
        other, base, where = to_text(fields.get("service") or ""), services, file
        if fields.get("file"):
            path = to_text(fields["file"])
            where = posixpath.normpath(posixpath.join(folder, path))
            base = _section(_placed(self._raw(where, environ), posixpath.dirname(path)), "services")
        if other not in base:
            raise UsageError(f'cannot extend service "{name}" in {file}: service "{other}" not found in {where}')
        source = self._extend(base, other, folder, where, environ, (*above, (file, name)))
        own = {key: value for key, value in service.items() if key != "extends"}
        services[name] = _merge(source, own, ("services", name))
        return services[name]

    def _raw(self, name: str, environ: Mapping[str, str]) -> Document:
        document: Document = {}
        for part in _documents(self._text(name), name):
            document = _merge(document, _selected(fill(part, environ, ""), name), ())
        return document

    def _text(self, name: str) -> str:
        text = self._read(name)
        if text is None:
            raise UsageError(f"open {name}: no such file or directory", hint="A Compose file names it.")
        return text

    def _environment(self, name: str, service: Document, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a service: those of its files, and its own."""
        variables: dict[str, str] = {}
        for entry in _sequence(service.get("env_file")):
            fields = cast("Document", entry) if isinstance(entry, dict) else {"path": entry}
            path = posixpath.normpath(to_text(fields.get("path") or ""))
            text = self._read(path)
            if text is not None:
                variables |= dotenv.parse(text, path, {**environ, **variables})
            elif fields.get("required", True) not in (False, "false"):
                raise UsageError(f"env file {path} not found", hint=f"The service {name} names it.")
        for entry in _sequence(service.get("environment")):
            key, equals, value = to_text(entry).partition("=")
            if equals:
                variables[key] = value
            elif key in environ:
                variables[key] = environ[key]
        return variables


def _documents(text: str, name: str) -> list[Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Knows the marks of Compose files."""

    def marked(loader: Any, tag: str, node: Any) -> Marked:
        plain = copy.copy(node)  # the node itself is being constructed
        plain.tag = loader.resolve(type(node), node.value, (True, False))
        return Marked(loader.construct_object(plain, deep=True), gone=tag == "reset")

    Loader.add_multi_constructor("!", marked)  # pyright: ignore[reportUnknownMemberType] - PyYAML has no types
    try:
        documents = [document for document in yaml.load_all(text, Loader) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{name}{line}: not valid YAML: {getattr(error, 'problem', error)}.") from None
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise UsageError(f"{name} is an empty Compose file.")
    return documents


def _project_name(files: Sequence[tuple[str, str]]) -> str:
    for name, text in files:
        for document in _documents(text, name):
            if isinstance(document.get("name"), str):
                return document["name"]
    return _DEFAULT_PROJECT


def _selected(document: Document, name: str) -> Document:
    """Return what a build depends on."""
    selected = {key: document[key] for key in _SECTIONS if document.get(key) is not None}
    services = _section(selected, "services", name)
    selected["services"] = {
        service: {key: body[key] for key in _FIELDS if key in body} if isinstance(body, dict) else {}
        for service, body in services.items()
    }
    selected["secrets"] = _section(selected, "secrets", name)
    return selected


def _section(document: Document, key: str, name: str = "") -> Document:
    section: Any = document.get(key) or {}
    if not isinstance(section, dict):
        raise UsageError(f"{name}: {key} must be a map.")
    return cast("Document", section)


def _merge(base: Any, over: Any, path: tuple[str, ...]) -> Any:
    """Return a document with another one on top of it."""
    rule = path[2:] if path[:1] == ("services",) else ()
    if isinstance(over, Marked):
        return over.value
    if rule == ("build",):
        base, over = ({"context": value} if isinstance(value, str) else value for value in (base, over))
    if rule in _JOINED:
        return [*_sequence(base), *_sequence(over)]
    if rule in _UNIQUE:
        return list(dict.fromkeys([*_sequence(base), *_sequence(over)]))
    if isinstance(base, list) and isinstance(over, list):
        return [*cast("list[Any]", base), *cast("list[Any]", over)]
    if not isinstance(over, dict) or not isinstance(base, dict):
        return cast("Any", base if over is None else over)
    merged = dict(cast("Document", base))
    for key, value in cast("Document", over).items():
        merged[key] = _merge(merged.get(key), value, (*path, key)) if key in merged else _plain(value)
        if isinstance(value, Marked) and value.gone:
            del merged[key]
    return merged


def _plain(value: Any) -> Any:
    """Return a value without marks."""
    if isinstance(value, Marked):
        return _plain(value.value)
    if not isinstance(value, dict):
        return value
    pairs = cast("Document", value).items()
    return {key: _plain(item) for key, item in pairs if not (isinstance(item, Marked) and item.gone)}


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, dict):
        pairs = cast("Document", value).items()
        return [key if item is None else f"{key}={to_text(item)}" for key, item in pairs]
    return _listed(value)


def _words(value: Any) -> list[str]:
    return [to_text(item) for item in _sequence(value)]


def _placed(document: Document, folder: str, *, complete: bool = False) -> Document:
    """Return a document with its relative paths below `folder`; `complete` when a build without a context has one."""

    def path(value: Any) -> str:
        return posixpath.normpath(posixpath.join(folder, to_text(value)))

    def context(value: Any) -> str:
        text = to_text(value)
        return text if "://" in text or text.startswith("service:") else path(text)

    def pair(entry: Any, place: Callable[[Any], str]) -> str:
        key, equals, value = to_text(entry).partition("=")
        return f"{key}={place(value)}" if equals else key

    def service(fields: Document) -> Document:
        placed = dict(fields)
        build = {"context": fields["build"]} if isinstance(fields.get("build"), str) else fields.get("build")
        if isinstance(build, dict):
            placed["build"] = built = dict(cast("Document", build))
            if built.get("context") or complete:
                built["context"] = context(built.get("context") or ".")
            for key, place in (("additional_contexts", context), ("ssh", path)):
                if built.get(key):
                    built[key] = [pair(entry, place) for entry in _sequence(built[key])]
        if fields.get("env_file"):
            entries = _listed(fields["env_file"])
            placed["env_file"] = [
                path(entry) if isinstance(entry, str) else _with_path(entry, path) for entry in entries
            ]
        if "extends" in fields:
            placed["extends"] = _with_path(fields["extends"], path)
        return placed

    services = {name: service(fields) for name, fields in _section(document, "services").items()}
    secrets = {name: _with_path(secret, path) for name, secret in _section(document, "secrets").items()}
    return {**document, "services": services, "secrets": secrets}


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]


def _with_path(entry: Any, place: Callable[[Any], str]) -> Any:
    """Return an entry that is a path, or has one as its `path` or `file`, with that path placed."""
    if not isinstance(entry, dict):
        return entry
    fields = cast("Document", entry)
    return {key: place(value) if key in ("path", "file") and value else value for key, value in fields.items()}
