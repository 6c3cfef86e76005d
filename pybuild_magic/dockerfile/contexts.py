"""The sources of a build's files: the main context, and the named contexts of `--build-context`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from ..errors import DockerfileError, SourceRange, UsageError
from ..golang.json import dumps
from ..golang.path import join_path
from ..golang.text import quote
from ..llb.ops import Edge, FileCopy, Node, SourceOp, walk
from ..oci import reference
from ..oci.config import ImageConfig
from ..oci.platform import Platform, host, normalise
from ..untrusted.redaction import redact_url
from .git_ref import parse_git_ref
from .lower_options import LowerOptions
from .metadata import ImageRequest, ResolvedImage, reason
from .state import State, file_node


def git_context(url: str, *, keep_git_dir: bool = False, commit_times: bool = False) -> Edge | None:
    """Return the source for a Git URL as a context; None for other texts.

    `commit_times` (a build with SOURCE_DATE_EPOCH) gives files the time of the commit.
    """
    ref = parse_git_ref(url)
    if ref is None:
        return None
    if commit_times and not ref.mtime:
        ref = msgspec.structs.replace(ref, mtime="commit")
    if keep_git_dir:
        ref = msgspec.structs.replace(ref, keep_git_dir=True)
    return Edge(Node(ref.source(), name=f"[internal] load git source {redact_url(url)}"))


def http_context(url: str) -> Edge:
    """Return the source that downloads a context, into one file named `context`."""
    op = SourceOp(url, {"http.filename": "context"})
    return Edge(Node(op, name="[internal] load remote build context"))


def unpacked_context(archive: Edge) -> Edge:
    """Return the files of the archive downloaded by `http_context`."""
    copy = FileCopy("/context", "/", attempt_unpack=True)
    return Edge(file_node(None, [(copy, archive)], name="copy /context /"))


def subdirectory(context: Edge, path: str) -> Edge:
    """Return the directory `path` of a context as a context."""
    copy = FileCopy(join_path("/", path), "/", dir_copy_contents=True)
    return Edge(file_node(None, [(copy, context)], name=f"copy {copy.src} /"))


class NamedContext(msgspec.Struct, frozen=True):
    """A `--build-context` that replaces a name of the Dockerfile."""

    name: str
    key: str
    """As given: the name, or `name::platform`."""
    value: str
    platform: Platform | None

    def request(self) -> ImageRequest | None:
        """Return the image whose config must be known before `load`, if it is an image."""
        scheme, _, rest = self.value.partition(":")
        spec = rest.removeprefix("//")
        if scheme == "docker-image" and spec != "scratch":
            ref = str(_parse(spec).tagged())
            return ImageRequest(ref, self.platform, f"[context {self.key}] load metadata for {spec}")
        if scheme == "oci-layout":
            store, _, digest = spec.rpartition("@")
            visible_ref = _parse(self.name).with_digest(digest) if store else _parse(self.name)
            name = f"[context {self.key}] load metadata for {visible_ref}"
            return ImageRequest(f"oci-layout://{spec}", self.platform, name)
        return None


def find_named(options: LowerOptions, name: str, platform: Platform | None) -> NamedContext | None:
    """Return the context given for `name`, preferring one for its platform."""
    if name.lower() in ("scratch", "context"):
        return None
    try:
        short = reference.parse(name).familiar.removesuffix(":latest")
    except UsageError as error:
        raise DockerfileError(f"invalid context name {name}: {reason(error)}") from error
    for key in (f"{short}::{normalise(platform or host()).full}", short):
        if key in options.named_contexts:
            return NamedContext(short, key, options.named_contexts[key], platform)
    return None


def load_named(
    context: NamedContext,
    image: ResolvedImage | None,
    lazy: LazySources,
    paths: Callable[[], Iterable[str]],
    location: SourceRange | None = None,
) -> tuple[State, ImageConfig | None]:
    """Return a named context's content, and its config when it is an image.

    `image` answers `context.request()`; `paths` lists, once all stages are lowered, the paths that are read. Errors are
    at `location`. Raises DockerfileError for an unknown kind of context.
    """
    scheme, colon, rest = context.value.partition(":")
    spec = rest.removeprefix("//")
    title = f"[context {context.key}]"
    if not colon:
        raise DockerfileError(f"invalid context specifier {context.value} for {context.key}")
    if scheme == "docker-image":
        if image is None:
            return State(), None
        op = SourceOp(f"docker-image://{image.pinned}")
        node = Node(op, name=f"{title} {spec}", platform=_text(context.platform), location=location)
        return _image_state(node, image)
    if scheme == "oci-layout" and image is not None:
        pinned = _parse(context.name).with_digest(image.digest)
        op = SourceOp(f"oci-layout://{pinned}", {"oci.store": spec})
        name = f"{title} OCI load from client"
        return _image_state(Node(op, name=name, platform=_text(context.platform), location=location), image)
    if scheme == "local":
        lazy.read_ignore(rest, title)
        return State(lazy.local(rest, f"context:{context.key}", title, paths)), None
    if edge := git_context(context.value):
        return State(edge), None
    if scheme in ("http", "https"):
        op = SourceOp(context.value, {"http.filename": "context"})
        return State(Edge(Node(op, name=f"{title} {context.value}", location=location))), None
    raise DockerfileError(f"unsupported context source {scheme} for {context.key}")


def _image_state(node: Node, image: ResolvedImage) -> tuple[State, ImageConfig]:
    config = image.parsed
    state = State(Edge(node), directory=config.config.working_dir or "/").with_environ(config.config.env)
    if config.architecture and config.os:
        state = msgspec.structs.replace(state, platform=normalise(config.platform))
    return state, msgspec.structs.replace(config, created="")


def _text(platform: Platform | None) -> str:
    return str(platform) if platform else ""


def _parse(text: str) -> reference.Reference:
    try:
        return reference.parse(text)
    except UsageError as error:
        raise DockerfileError(f"could not parse reference {quote(text)}: {reason(error)}") from error


class LazySources:
    """Local directories as sources whose filter is known only when everything that reads them is lowered.

    A placeholder stands for each in the graph; `settle` replaces it with the source.
    """

    def __init__(self, options: LowerOptions) -> None:
        self._options = options
        self._sources: dict[int, Callable[[], Node]] = {}
        self._stand_ins: list[Node] = []
        self._ignored: dict[str, list[str]] = {}

    def local(
        self,
        directory: str,
        hint: str,
        title: str,
        paths: Callable[[], Iterable[str]],
        *,
        verb: str = "load from client",
    ) -> Edge:
        """Return the session's directory `directory` as a vertex named `TITLE VERB`, without the files that it ignores.

        `paths` are the paths that are read; "/" stands for all. `hint` lets a builder that received the directory
        before fetch only the changes.
        """

        def source() -> Node:
            attrs = {"local.sharedkeyhint": hint}
            if follow := _follow(paths()):
                attrs["local.followpaths"] = follow
            if excludes := self.read_ignore(directory, title):
                attrs["local.excludepatterns"] = dumps(excludes).decode()
            return Node(SourceOp(f"local://{directory}", attrs), name=f"{title} {verb}")

        return self.later(source)

    def read_ignore(self, directory: str, title: str) -> list[str]:
        """Return the patterns of the directory's .dockerignore, read once."""
        if directory not in self._ignored:
            self._ignored[directory] = list(self._options.read_ignore(directory, f"{title} load .dockerignore"))
        return self._ignored[directory]

    def later(self, source: Callable[[], Node]) -> Edge:
        """Return a placeholder for the node that `source` makes when the graph is settled."""
        stand_in = Node(SourceOp("", {"number": str(len(self._stand_ins))}))
        self._stand_ins.append(stand_in)
        self._sources[id(stand_in)] = source
        return Edge(stand_in)

    def settle(self, root: Edge | None) -> Edge | None:
        """Return the same graph with every placeholder replaced, and equal nodes merged.

        A merged node keeps the name that comes last in the order of `walk`, as in BuildKit; it ignores the cache if any
        of its nodes does.
        """
        if root is None:
            return None
        nodes: dict[int, Node] = {}
        unique: dict[str, Node] = {}
        for node in walk(root):
            moved = self._sources[id(node)]() if id(node) in self._sources else node
            inputs = tuple(Edge(nodes[id(edge.node)], edge.output) for edge in moved.inputs)
            moved = msgspec.structs.replace(moved, inputs=inputs)
            # Computed now, inputs first, so that no digest recurses deeper than one node.
            unique[moved.digest] = _same(unique.get(moved.digest), moved)
            nodes[id(node)] = moved
        merged: dict[str, Node] = {}
        for digest, node in unique.items():
            inputs = tuple(Edge(merged[edge.node.digest], edge.output) for edge in node.inputs)
            merged[digest] = msgspec.structs.replace(node, inputs=inputs)
            _ = merged[digest].digest
        return Edge(merged[nodes[id(root.node)].digest], root.output)


def _same(earlier: Node | None, later: Node) -> Node:
    if earlier is None:
        return later
    return msgspec.structs.replace(
        later,
        name=later.name or earlier.name,
        ignore_cache=later.ignore_cache or earlier.ignore_cache,
        location=later.location or earlier.location,
        places=(*_places(earlier), *_places(later)),
    )


def _places(node: Node) -> tuple[SourceRange, ...]:
    return node.places or ((node.location,) if node.location else ())


def _follow(paths: Iterable[str]) -> str:
    """Return `local.followpaths` for absolute paths: relative and sorted, "" when everything is read."""
    unique: Sequence[str] = sorted({path.lstrip("/") for path in paths})
    return "" if not unique or "" in unique else dumps(unique).decode()
