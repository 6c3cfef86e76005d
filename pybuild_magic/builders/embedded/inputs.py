"""The inputs of a build: the Dockerfile, its .dockerignore and its context, local or fetched."""

from __future__ import annotations

import hashlib
import posixpath
import stat as st
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ...cancel import Cancel
from ...dockerfile.checks import CheckOptions, Checks, parse_check_options
from ...dockerfile.contexts import git_context, http_context, subdirectory, unpacked_context
from ...dockerfile.directives import read_directives
from ...dockerfile.document import Dockerfile
from ...dockerfile.lower_options import LowerOptions
from ...dockerfile.parser import parse
from ...errors import BuildError, ContextError, DockerfileError, SourceRange, UsageError
from ...golang.json import dumps
from ...golang.parsebool import parse_bool
from ...golang.patternmatcher import read_ignore
from ...llb.ops import Edge, Node, SourceOp
from ...llb.sourcepolicy import SourcePolicy, evaluate
from ...oci import reference
from ...session import LocalDir, Session
from ...status.report import Reporter, VertexReport
from ...store import FILE, LayerTree, resolve
from ...store.links import follow_links
from ...untrusted.redaction import redact_url
from .files.unpacking import is_archive

SolveTree = Callable[[Edge], LayerTree]
"""Solves an edge at once, and returns the files of its snapshot."""

_OWN = "dockerfile.v0"
"""The name of the built-in front end in BUILDKIT_SYNTAX, whatever the Dockerfile says."""
_DOCKERFILE = "dockerfile"
"""The name of the input that contains the Dockerfile."""
_BUILT_IN = ("docker.io/docker/dockerfile", "docker.io/docker/dockerfile-upstream")


class BuildInputs:
    """Loads the parts of a request's definition, shown in the progress as in BuildKit."""

    def __init__(
        self,
        attrs: Mapping[str, str],
        session: Session,
        reporter: Reporter,
        cancel: Cancel,
        solve: SolveTree,
        policy: SourcePolicy,
        inputs: Mapping[str, Edge] | None = None,
    ) -> None:
        """Prepare the inputs. `inputs` are the file systems that one front end passes to another, by name."""
        self.attrs = attrs
        self.inputs = dict(inputs or {})
        self._session = session
        self._reporter = reporter
        self._cancel = cancel
        self._solve = solve
        self._policy = policy
        self.filename = attrs.get("filename") or "Dockerfile"
        self.digest = ""
        """The digest of the vertex that loaded the Dockerfile, to which warnings about the Dockerfile belong."""
        self._given_checks = _given_checks(attrs)
        self._own_ignore: bytes | None = None
        """The content of `<Dockerfile>.dockerignore`."""
        self.context: Edge | None = None
        """The context when it is fetched; None when it is a directory of the session."""
        self._remote: LayerTree | None = None
        self.text = ""
        """The text of the Dockerfile, once it was read."""
        self.loaded: list[Edge] = []
        """The sources read before the build's own graph was known, as LLB."""
        self.source: Edge | None = None
        """The source of the Dockerfile."""
        self.syntax = ""
        """The image of the Dockerfile's front end, when it is not the built-in one."""
        self.cmdline = ""
        """The same, with the words after it."""
        self.syntax_location: SourceRange | None = None

    def read(self) -> str:
        """Return the Dockerfile's text, and set `syntax` from it. Raises `ContextError` when there is none."""
        self._open_context()
        local = self._remote is None or ("dockerfilekey" in self.attrs and _DOCKERFILE not in self.inputs)
        data = self._load_local() if local else self._load_remote()
        text = self.text = data.decode("utf-8", "surrogateescape")
        if "cmdline" not in self.attrs:  # else a front end passed the Dockerfile on
            self._find_syntax(text)
        return text

    def _find_syntax(self, text: str) -> None:
        # Before parsing, because the text may be in the language of another front end.
        directives = read_directives(text, self.filename)
        override = self.attrs.get("build-arg:BUILDKIT_SYNTAX", "").strip()
        named = next((directive for directive in directives.entries if directive.name == "syntax"), None)
        cmdline = override or (named.value if named else "")
        syntax = cmdline.partition(" ")[0]
        if syntax and override != _OWN and not is_built_in(syntax):
            self.syntax, self.cmdline = syntax, cmdline
            self.syntax_location = None if override or named is None else named.location

    def complete(self, options: LowerOptions) -> LowerOptions:
        """Return the options, completed from the definition once that has been read."""
        return msgspec.structs.replace(options, read_ignore=self.read_ignore, context=self.context)

    def check_options(self, text: str) -> CheckOptions:
        """Return the build checks selected by the build or else by the Dockerfile. Raises `DockerfileError`."""
        if self._given_checks is not None:
            return self._given_checks
        try:
            return parse_check_options(read_directives(text, self.filename).check.partition(" ")[0])
        except DockerfileError as error:
            raise DockerfileError(f"failed to parse check options: {error.message}") from None

    def parse(self, text: str, checks: Checks | None = None) -> Dockerfile:
        """Parse the text of the Dockerfile. Raises `DockerfileError`."""
        if not text:
            raise DockerfileError("the Dockerfile cannot be empty")
        return parse(text, self.filename, checks)

    def read_ignore(self, directory: str, vertex: str) -> Sequence[str]:
        """Return the ignore patterns of a local directory: the Dockerfile's own file, or else .dockerignore."""
        if self._own_ignore is not None:
            return self._patterns(self._own_ignore)
        source = self._session.local_dirs.get(directory)
        if source is None:
            return ()
        self.loaded.append(_local(directory, [".dockerignore"]))
        with self._reporter.vertex(_digest(vertex, directory), vertex) as report:
            return self._patterns(self._transfer(report, source, "context", [".dockerignore"]).get(".dockerignore"))

    def _patterns(self, data: bytes | None) -> Sequence[str]:
        return read_ignore(data.decode("utf-8", "surrogateescape")) if data else ()

    def _open_context(self) -> None:
        key = self.attrs.get("contextkey", "context")
        if (definition := self.inputs.get(key)) is not None:
            self.context, self._remote = definition, self._solve(definition)
        url = self.attrs.get(key, "")
        if (file := self.inputs.get(_DOCKERFILE)) is not None:
            self.source, self._remote = file, self._solve(file)
        if not url or self._remote is not None:
            return
        edge = git_context(
            url,
            keep_git_dir=parse_bool(self.attrs.get("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR", "")) is True,
            commit_times=bool(self.attrs.get("build-arg:SOURCE_DATE_EPOCH")),
        )
        if edge is None and url.startswith(("http://", "https://")):
            edge = self._downloaded(http_context(url))
        if edge is None:
            redacted = redact_url(url)
            raise ContextError(f"{redacted} cannot be fetched as a context.", hint="Give a Git or an HTTP URL.")
        if directory := self.attrs.get("contextsubdir"):
            edge = subdirectory(edge, directory)
        self.context = self.source = edge
        self.loaded.append(edge)
        self._remote = self._solve(edge)

    def _downloaded(self, edge: Edge) -> Edge:
        """Return the downloaded context: the files of an archive, or else the Dockerfile itself."""
        tree = self._solve(edge)
        entry = tree.get("context")
        if entry is not None and entry.type == FILE and entry.size and is_archive(lambda: tree.open(entry)):
            return unpacked_context(edge)
        self.filename = "context"
        return edge

    def _load_local(self) -> bytes:
        names = [self.filename, f"{self.filename}.dockerignore"]
        folder, base = posixpath.split(self.filename)
        lower = posixpath.join(folder, base.lower()) if base == "Dockerfile" else ""
        name = f"[internal] load build definition from {self.filename}"
        key = self.attrs.get("dockerfilekey", "dockerfile")
        source = self._session.local_dirs.get(key)
        self.digest = _digest(name, key)
        self.source = _local(key, [name for name in (*names, lower) if name])
        self.loaded.append(self.source)
        with self._reporter.vertex(self.digest, name) as report:
            files = {} if source is None else self._transfer(report, source, "dockerfile", [*names, lower])
            self._own_ignore = files.get(names[1])
            data = files.get(names[0], files.get(lower))
            if data is None:
                raise ContextError(
                    f"failed to read dockerfile: open {self.filename}: no such file or directory",
                    hint="Name the Dockerfile with -f.",
                )
            return data

    def _load_remote(self) -> bytes:
        assert self._remote is not None
        tree = self._remote
        files: dict[str, bytes] = {}
        for name in (self.filename, f"{self.filename}.dockerignore"):
            entry = tree.get(resolve(tree, name))
            if entry is not None and entry.type == FILE:
                files[name] = tree.read(entry)
        self._own_ignore = files.get(f"{self.filename}.dockerignore")
        if self.filename not in files:
            raise ContextError(f"failed to read dockerfile: open {self.filename}: no such file or directory")
        return files[self.filename]

    def _transfer(self, report: VertexReport, source: LocalDir, label: str, names: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of those files that exist, following links inside the directory."""
        self._cancel.check()
        evaluate(self._policy, SourceOp(f"local://{label}"))
        files: dict[str, bytes] = {}
        with report.step(f"transferring {label}:") as step:
            for name in filter(None, names):
                path = _follow(source, name)
                if path is not None:
                    with source.open(path) as file:
                        files[name] = file.read()
            count = 2 + sum(len(data) + len(name) + 30 for name, data in files.items())
            step.update(count)
        return files


def _local(name: str, paths: Sequence[str]) -> Edge:
    """Return the source of some files of a local directory, as BuildKit's front end asks for them."""
    attrs = {"local.differ": "none", "local.followpaths": dumps(list(paths)).decode(), "local.sharedkeyhint": name}
    return Edge(Node(SourceOp(f"local://{name}", attrs)))


def _given_checks(attrs: Mapping[str, str]) -> CheckOptions | None:
    text = attrs.get("build-arg:BUILDKIT_DOCKERFILE_CHECK")
    if text is None:
        return None
    try:
        return parse_check_options(text)
    except DockerfileError as error:
        raise UsageError(f"failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: {error.message}") from None


def is_built_in(syntax: str) -> bool:
    """Return whether a `# syntax` names any version of Docker's Dockerfile front end, which is built in."""
    try:
        return reference.parse(syntax).name in _BUILT_IN
    except BuildError:
        return False


def _follow(source: LocalDir, path: str) -> str | None:
    """Return the regular file to which `path` leads inside the directory."""

    def link_of(at: str) -> str | None:
        status = source.stat(at)
        return status.link if status is not None and st.S_ISLNK(status.mode) else None

    at = follow_links(path, link_of)
    end = source.stat(at)
    return at if end is not None and st.S_ISREG(end.mode) else None


def _digest(name: str, content: str) -> str:
    return "sha256:" + hashlib.sha256(f"{name}\0{content}".encode()).hexdigest()
