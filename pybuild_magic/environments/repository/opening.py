"""Repositories opened from a directory on disk, or a URL that Git fetches, and compiled in place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from ...builders import embedded_builder
from ...builders.embedded.sources import Resolver, SourceContext, open_source
from ...builders.embedded.sources.context import ResolveMode
from ...cancel import Cancel
from ...dockerfile.git_ref import GitRef, parse_git_ref
from ...errors import ContextError, UsageError
from ...golang.patternmatcher import PatternMatcher, read_ignore
from ...oci import reference
from ...portable import kind_of, user_path
from ...request.flags import Flag, Kind, ParsedFlags
from ...request.values import is_remote, parse_secret, parse_ssh
from ...session import DirSource, SecretStore, Session, SSHAgents
from ...session.auth import DockerAuth
from ...status.messages import SolveStatus
from ...status.report import Reporter, VertexReport
from ...untrusted.foreign import split_url
from ...untrusted.redaction import redact_url
from .compiled import compile_repository
from .files import InStore, OnDisk, RepositoryFiles
from .parts import Finding

FLAGS = (
    Flag("list", Kind.BOOL, "", "Show the files found, and their use, instead of the Dockerfile"),
    Flag("base", Kind.ONE, "IMAGE", "The base image, instead of the language's"),
    Flag("tag", Kind.ONE, "NAME", "The name of the image, instead of the repository's", short="t"),
    Flag("secret", Kind.MANY, "id=GIT_AUTH_TOKEN", "A secret, for a private repository"),
    Flag("ssh", Kind.MANY, "default|ID[=SOCKET]", "SSH agent, for a private repository"),
)
"""Those of `%build repo`."""

Watch = Callable[[str, Callable[[VertexReport], tuple[str, ...]], Cancel], tuple[str, ...]]


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository, and the Dockerfile compiled from it."""

    context: str
    """The directory or URL, as the context of a build."""
    name: str
    """A name for its image."""
    dockerfile: str
    findings: tuple[Finding, ...]
    """The files found, and how and why each is used."""
    contexts: dict[str, str] = {}
    """Named contexts that the build needs besides it."""
    secrets: tuple[str, ...] = ()
    """The secrets of the build, in the form of `--secret`."""
    ssh: tuple[str, ...] = ()
    """The SSH agents of the build, in the form of `--ssh`."""

    @property
    def line(self) -> str:
        """The words after `%%build` that build the Dockerfile."""
        words = ["-t", self.name]
        for name, where in self.contexts.items():
            words += ["--build-context", f"{name}={where}"]
        for secret in self.secrets:
            words += ["--secret", secret]
        for agent in self.ssh:
            words += ["--ssh", agent]
        return shlex.join([*words, self.context])

    @property
    def cell(self) -> str:
        """The cell that builds it."""
        return f"%%build {self.line}\n{self.dockerfile}"


def open_repository(
    where: str,
    base: str = "",
    name: str = "",
    *,
    secrets: tuple[str, ...] = (),
    ssh: tuple[str, ...] = (),
    watch: Watch | None = None,
) -> Repository:
    """Compile the repository at a path or a URL, on `base` or on the base image of its language.

    `name` is the name of the image, by default made from the repository's; `secrets` and `ssh` are those of a build,
    for private repositories; `watch` runs the work of fetching, and shows it. Raises ContextError, UsageError,
    SourceError, UnsupportedError and Interrupted.
    """
    if base:
        reference.parse(base)
    if name:
        reference.parse(name)
    remote = _git_ref(where)
    if remote is not None:
        url, ref = remote
        session = Session(
            auth=DockerAuth(),
            secrets=SecretStore(tuple(map(parse_secret, secrets))),
            ssh=SSHAgents(tuple(map(parse_ssh, ssh))),
        )
        diff_ids = _fetch(url, ref, session, watch)
        store = embedded_builder().store
        with store.lease():
            compiled = compile_repository(RepositoryFiles(InStore(store.tree(diff_ids))), base)
        name = name or image_name(ref.subdir.rpartition("/")[2] or ref.path)
        return Repository(
            context=url, name=name, dockerfile=compiled.dockerfile, findings=compiled.findings, secrets=secrets, ssh=ssh
        )
    directory = DirSource(_existing(where))
    files = RepositoryFiles(OnDisk(directory))
    compiled = compile_repository(files, base, _ignored(files))
    contexts = {key: str(Path(where) / folder) for key, folder in compiled.contexts.items()}
    return Repository(
        context=where,
        name=name or image_name(directory.root.name),
        dockerfile=compiled.dockerfile,
        findings=compiled.findings,
        contexts=contexts,
    )


def repository_of(flags: ParsedFlags, watch: Watch | None = None) -> tuple[Repository, bool]:
    """Return the repository that a line names, compiled, and whether a list of it is wanted. Raises as above."""
    repository = open_repository(
        flags.arguments[0] if flags.arguments else ".",
        flags.last("base"),
        flags.last("tag"),
        secrets=tuple(flags.every("secret")),
        ssh=tuple(flags.every("ssh")),
        watch=watch,
    )
    return repository, flags.on("list")


def image_name(text: str) -> str:
    """Return a name for the image of a repository that is called `text`."""
    last = text.rstrip("/").rpartition("/")[2].removesuffix(".git").lower()
    return re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:80] or "repository"


def _git_ref(where: str) -> tuple[str, GitRef] | None:
    """Return the URL as a build takes it, and its parts; None for a path. A repository's web page counts as its URL."""
    if not is_remote(where):
        return None
    ref = parse_git_ref(where)
    if ref is None and where.lower().startswith(("http://", "https://")):
        split = split_url(where)
        where = split._replace(path=split.path.rstrip("/") + ".git").geturl()
        ref = parse_git_ref(where)
    if ref is None:
        raise UsageError(
            f"{redact_url(where)} is not a Git repository.",
            hint="Write it as https://HOST/OWNER/NAME or git@HOST:NAME.git.",
        )
    return where, ref


def _existing(where: str) -> Path:
    """Return the path of a repository on disk. Raises ContextError where there is no directory."""
    if where.lower().startswith("file:"):
        raise ContextError(f"{where} is a file URL.", hint="Write the path of the directory.")
    root = user_path(where)
    if (kind := kind_of(root)) != "directory":
        problem = "is not a directory" if kind else "does not exist"
        raise ContextError(
            f"The repository {where} {problem}.", hint="Name a directory, or a URL as git clone takes it."
        )
    return root


def _fetch(url: str, ref: GitRef, session: Session, watch: Watch | None) -> tuple[str, ...]:
    """Fetch a commit into the store, as a build with this context does; return its layers."""
    builder, cancel = embedded_builder(), Cancel()

    def fetch(report: VertexReport) -> tuple[str, ...]:
        with (
            builder.store.lease(),
            closing(Resolver(builder.store, session, cancel, Reporter(_ignore), ResolveMode.DEFAULT)) as resolver,
        ):
            source = open_source(ref.source(), "", SourceContext(builder.store, session, cancel, resolver))
            source.key(report)
            return source.snapshot(report)

    name = f"fetching {redact_url(url)}"
    if watch:
        return watch(name, fetch, cancel)
    with Reporter(_ignore).vertex("sha256:" + "0" * 64, name) as report:
        return fetch(report)


def _ignore(_status: SolveStatus) -> None:
    pass


def _ignored(files: RepositoryFiles) -> Callable[[str], bool]:
    text = files.text(".dockerignore")
    return PatternMatcher(read_ignore(text)).matches if text else lambda _: False
