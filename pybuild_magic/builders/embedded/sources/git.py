"""Git repositories as sources: one commit, fetched without history, checked out into a layer.

Source: BuildKit's source/git. The repository is kept between builds, so that the next commit costs only its changes.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ....errors import SourceError, UnsupportedError
from ....llb.ops import SourceOp
from ....llb.sourcepolicy import Update
from ....net.transport import basic_of
from ....portable import HAS_MODES, at, made_up_mode
from ....status.report import VertexReport
from ....store import DIR, FILE, SYMLINK, CacheRecord, Entry, LayerWriter
from ....store.entry import WHITEOUT_PREFIX
from ....untrusted.foreign import LATEST, join_url, number, split_url
from ....untrusted.redaction import redact_url, split_credentials
from .context import SourceContext, key_of
from .git_command import Git, GitError, check_ref, check_remote, is_commit

_HEX = re.compile(r"[0-9a-fA-F]+")
_GITHUB = ("https://github.com/", "https://www.github.com/")
_NOT_YET = ("git.bundle", "git.checkoutbundle", "git.sig.pubkey")
_KEPT = "refs/pybuild/"
"""The refs for fetched objects in the kept repository, so that git does not collect them."""


class _Commit(msgspec.Struct, frozen=True):
    """The present commit of a ref."""

    ref: str
    """The full name, `refs/heads/main`; or the commit itself, if a commit was asked for."""
    object: str
    """The commit, or the annotated tag."""
    commit: str
    """The commit, when it is known to differ from `object`."""


class GitSource:
    """`git://HOST/PATH[#REF[:SUBDIR]]` with the attributes `git.*` of BuildKit."""

    def __init__(self, op: SourceOp, context: SourceContext) -> None:
        self._attrs = op.attrs
        self._context = context
        where, _, fragment = op.identifier.partition("://")[2].partition("#")
        ref, _, subdir = fragment.partition(":")
        self._ref = ref
        self._subdir = "/".join(part for part in subdir.split("/") if part not in ("", "."))
        self._where = where
        remote = op.attrs.get("git.fullurl", "") or where
        known = re.match(r"[a-zA-Z0-9]+://|[\w-]+@[\w.-]+:", remote)
        self._remote, self._userinfo = split_credentials(remote if known else f"https://{remote}")
        self._commit: _Commit | None = None
        self._git: Git | None = None

    def key(self, progress: VertexReport) -> str:
        """Return the commit as the key, whichever repository it is in. See Source."""
        commit = self._resolve(progress)
        return key_of(
            "git",
            commit.object if self._keeps_git_dir else commit.commit,
            commit.ref if self._keeps_git_dir else "",
            self._subdir,
            self._is("skipsubmodules"),
            self._attrs.get("git.mtime", "") or "checkout",
        )

    def pin(self, progress: VertexReport) -> Update:
        """Return the commit as the pin. See Source."""
        commit = self._resolve(progress).commit or self._resolve(progress).object
        return Update(f"git://{self._where}#{commit}" + (f":{self._subdir}" if self._subdir else ""))

    def names(self) -> tuple[str, ...]:
        """Return the commit, with the part that is checked out. See Source, and BuildKit's shaToCacheKey."""
        commit = self._commit
        if commit is None:
            return ()
        name = commit.commit
        if self._is("keepgitdir"):
            name += ".git" + (f"#{commit.ref}" if commit.ref != commit.object else "")
        name += f":{self._subdir}" if self._subdir else ""
        return (name + "(skip-submodules)" if self._is("skipsubmodules") else name,)

    def snapshot(self, progress: VertexReport) -> tuple[str, ...]:
        """See Source."""
        key = f"git:{self.key(progress)}"
        store = self._context.store
        if record := store.cache.get(key):
            return record.diff_ids
        redacted = f"{redact_url(self._remote)}#{self._ref}"
        with store.cachemounts.acquire(f"git {redact_url(self._remote)}", "locked", self._context.cancel) as bare:
            # Another build may have done this while this build waited.
            if record := store.cache.get(key):
                return record.diff_ids
            checkout = store.rootfs.workdir()
            try:
                diff_ids = (self._check_out(progress, bare, checkout),)
            except GitError as error:
                raise SourceError(f"The Git repository {redacted} could not be checked out: {error.reason}.") from error
            finally:
                store.rootfs.discard(checkout)
        store.cache.put(
            key, CacheRecord(diff_ids, kind="source.git.checkout", description=f"git snapshot for {redacted}")
        )
        return diff_ids

    @property
    def revision(self) -> str:
        """See Source."""
        return self._commit.commit if self._commit else ""

    @property
    def _keeps_git_dir(self) -> bool:
        return self._is("keepgitdir") and not self._subdir

    def _is(self, attribute: str) -> bool:
        return self._attrs.get(f"git.{attribute}") == "true"

    def _command(self, progress: VertexReport) -> Git:
        """Return git with this build's credentials for this remote."""
        if self._git is not None:
            return self._git
        for name in _NOT_YET:
            if name in self._attrs:
                raise UnsupportedError(f"The embedded builder does not support the attribute {name} of a Git source.")
        remote = check_remote(self._remote)
        check_ref(self._ref)
        agent = ssh = ""
        if agent_id := self._attrs.get("git.mountsshsock", ""):
            agent = self._context.session.ssh.get(agent_id) or ""
            if not agent:
                raise SourceError(
                    f"{redact_url(remote)} needs SSH, but the build has no SSH agent.",
                    hint=f"Pass --ssh {agent_id}, or use the https URL.",
                )
        if hosts := self._attrs.get("git.knownsshhosts", ""):
            file = self._context.store.rootfs.workdir() / "known_hosts"
            file.write_text(hosts, "utf-8", newline="\n")
            ssh = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={file}"
        else:
            ssh = "-o StrictHostKeyChecking=accept-new"
        self._git = Git(self._context.cancel, progress, ssh=ssh, agent=agent)
        self._git.configure("remote.origin.url", remote)
        if header := self._authorization():
            scope = next((prefix for prefix in _GITHUB if remote.startswith(prefix)), remote)
            if self._userinfo:
                scope = join_url(remote, "/")  # submodules are relative to the URL, and so to its credentials
            self._git.configure(f"http.{scope}.extraheader", f"Authorization: {header}")
        return self._git

    def _authorization(self) -> str:
        """Return the header from the secrets GIT_AUTH_HEADER or GIT_AUTH_TOKEN, those for the host first.

        Without them, use the credentials of the URL. They are not passed to git itself, which would write them into its
        configuration and its messages.
        """
        if not self._remote.lower().startswith(("http://", "https://")):
            return ""
        host = split_url(self._remote).netloc.rpartition("@")[2]
        header, token = self._attrs.get("git.authheadersecret", ""), self._attrs.get("git.authtokensecret", "")
        for suffix in (f".{host}", ""):
            if header and (value := self._context.session.secrets.get(header + suffix)):
                return value.decode("latin-1").strip()
            if token and (value := self._context.session.secrets.get(token + suffix)):
                return "basic " + base64.b64encode(b"x-access-token:" + value.strip()).decode()
        return basic_of(self._userinfo) if self._userinfo else ""

    def _resolve(self, progress: VertexReport) -> _Commit:
        if self._commit is None:
            git = self._command(progress)
            try:
                self._commit = self._look_up(git)
            except GitError as error:
                raise SourceError(
                    f"The Git repository {redact_url(self._remote)} could not be read: {error.reason}.",
                    hint="Check the URL, or pass the secret GIT_AUTH_TOKEN if the repository is private.",
                ) from error
        return self._commit

    def _look_up(self, git: Git) -> _Commit:
        checksum = self._attrs.get("git.checksum", "").lower()
        if checksum and not _HEX.fullmatch(checksum):
            raise SourceError(f"invalid checksum {checksum!r} for Git URL, expected hex commit hash.")
        ref = self._ref
        if is_commit(ref):
            self._expect(checksum, ref)
            return _Commit(ref, ref, ref)
        if self._is("fetchbycommit"):
            if not is_commit(checksum):
                raise SourceError("fetch-by-commit requires a full commit SHA as checksum.")
            full = ref if not ref or ref.startswith("refs/") else f"refs/heads/{ref}"
            return _Commit(full or checksum, checksum, checksum)
        if not ref:
            ref = _default_branch(git.run("ls-remote", "--symref", "--", self._remote, "HEAD"), self._remote)
        listed = git.run("ls-remote", "--", self._remote, ref, f"{ref}^{{}}")
        commit = _pick(listed, ref)
        if commit is None:
            raise SourceError(f"The repository {redact_url(self._remote)} does not contain ref {ref}.")
        self._expect(checksum, commit.object, commit.commit)
        return commit

    def _expect(self, checksum: str, *objects: str) -> None:
        if checksum and not any(digest.startswith(checksum) for digest in objects):
            actual = " or ".join(dict.fromkeys(objects))
            raise SourceError(
                f"{redact_url(self._remote)}#{self._ref}: expected checksum to match {checksum}, got {actual}.",
                hint="The ref has moved, or the checksum belongs to another commit.",
            )

    def _check_out(self, progress: VertexReport, clone: Path, checkout: Path) -> str:
        """Fetch, check out, and write the layer; return its diffID."""
        commit = self._resolve(progress)
        git = self._command(progress)
        if not (clone / "HEAD").exists():
            form = ["--object-format=sha256"] if len(commit.object) == 64 else []
            git.run("init", "--bare", "--quiet", *form, git_dir=clone)
        self._fetch(git, clone, commit)
        # A commit named by its hash need not be fetched for the comparison, unless the hash is abbreviated.
        actual = git.run("rev-parse", f"{commit.object}^{{commit}}", git_dir=clone, quiet=True).strip()
        self._expect(self._attrs.get("git.checksum", "").lower(), commit.object, actual)
        if self._keeps_git_dir:
            git_dir = self._clone(git, clone, checkout, commit)
        else:
            git_dir = clone
            index = {"GIT_INDEX_FILE": str(clone / "pybuild-index")}
            (clone / "pybuild-index").unlink(missing_ok=True)
            git.run("checkout", "--force", actual, "--", ".", git_dir=clone, work_tree=checkout, env=index, quiet=True)
        self._submodules(git, git_dir, checkout)
        mtime = None
        if self._attrs.get("git.mtime") == "commit":
            written = git.run("log", "-1", "--format=%ct", actual, git_dir=clone, quiet=True).strip()
            mtime = (number(written, LATEST) or 0) * 1_000_000_000
        return self._layer(checkout, mtime)

    def _fetch(self, git: Git, clone: Path, commit: _Commit) -> None:
        """Fetch the commit into the kept repository, without history if the server supports that."""
        if self._has(git, clone, commit.object):
            return
        (clone / "shallow.lock").unlink(missing_ok=True)
        target = f"+{commit.ref if not is_commit(commit.ref) else commit.object}:{_KEPT}{commit.object}"
        if self._is("fetchbycommit"):
            target = f"+{commit.object}:{_KEPT}{commit.object}"
        fetch = ("fetch", "--no-tags", "--no-write-fetch-head")
        try:
            git.run(*fetch, "--depth=1", "--", "origin", target, git_dir=clone)
        except GitError as error:
            unknown = ("not our ref", "unadvertised", "shallow", "--depth", "dumb http", "couldn't find remote ref")
            if not any(word in error.output for word in unknown):
                raise
        if self._has(git, clone, commit.object):
            return
        # The ref has moved since it was looked up, or the server does not serve single commits.
        full = ["--unshallow"] if (clone / "shallow").exists() else []
        everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        git.run(*fetch, *full, "--", "origin", *everything, git_dir=clone)
        if not self._has(git, clone, commit.object):
            raise SourceError(f"{redact_url(self._remote)} no longer has the commit {commit.object}.")

    def _has(self, git: Git, clone: Path, object_: str) -> bool:
        try:
            git.run("cat-file", "-e", f"{object_}^{{commit}}", git_dir=clone, quiet=True)
        except GitError:
            return False
        return True

    def _clone(self, git: Git, clone: Path, checkout: Path, commit: _Commit) -> Path:
        """Return a separate repository in the checkout, with the one commit and no trace of this machine."""
        git_dir = checkout / ".git"
        form = ["--object-format=sha256"] if len(commit.object) == 64 else []
        git.run("init", "--quiet", *form, git_dir=git_dir, work_tree=checkout)
        git.run("update-ref", f"{_KEPT}{commit.object}", commit.object, git_dir=clone)
        target = f"{_KEPT}{commit.object}" + ("" if is_commit(commit.ref) else f":{commit.ref}")
        only_file = {"GIT_ALLOW_PROTOCOL": "file"}
        fetch = ("fetch", "--update-head-ok", "--depth=1", "--no-tags", "--quiet")
        # By URL: a local clone by path has optimisations that were exploited to copy files of the host.
        git.run(*fetch, "--", clone.as_uri(), target, git_dir=git_dir, work_tree=checkout, env=only_file)
        git.run("checkout", "--quiet", "FETCH_HEAD", git_dir=git_dir, work_tree=checkout, quiet=True)
        git.run("config", "--local", "remote.origin.url", redact_url(self._remote), git_dir=git_dir)
        git.run("config", "--local", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*", git_dir=git_dir)
        git.run("reflog", "expire", "--all", "--expire=now", git_dir=git_dir)
        (git_dir / "FETCH_HEAD").unlink(missing_ok=True)
        return git_dir

    def _submodules(self, git: Git, git_dir: Path, checkout: Path) -> None:
        if self._is("skipsubmodules") or not (checkout / ".gitmodules").is_file():
            return
        index = {} if git_dir.name == ".git" else {"GIT_INDEX_FILE": str(git_dir / "pybuild-index")}
        update = ("submodule", "update", "--init", "--recursive", "--depth=1")
        git.run(*update, git_dir=git_dir, work_tree=checkout, env=index)

    def _layer(self, checkout: Path, mtime: int | None) -> str:
        root = _subdirectory(checkout, self._subdir)
        with LayerWriter(self._context.store, cancel=self._context.cancel) as writer:
            for entry, path in _walk(root, ""):
                if mtime is not None:
                    entry = msgspec.structs.replace(entry, mtime=mtime)
                writer.add(entry, (lambda path=path: at.open(path, _READ)) if entry.type == FILE else None)
            return writer.finish().diff_id


_READ = at.O_RDONLY | at.O_NOFOLLOW | at.O_CLOEXEC


def _default_branch(listed: str, remote: str) -> str:
    match = re.search(r"^ref: (refs/heads/\S+)\tHEAD$", listed, re.MULTILINE)
    if match is None:
        raise SourceError(
            f"The default branch of {redact_url(remote)} could not be found.", hint="Name one: URL#BRANCH."
        )
    return check_ref(match[1])


def _pick(listed: str, ref: str) -> _Commit | None:
    """Return the answer of `git ls-remote` for a ref, preferring a branch to a tag, as git checkout does."""
    objects = {name: object_ for object_, _, name in (line.partition("\t") for line in listed.splitlines())}
    branch, tag = f"refs/heads/{ref.removeprefix('refs/heads/')}", f"refs/tags/{ref.removeprefix('refs/tags/')}"
    for name in (f"refs/{ref.removeprefix('refs/')}", branch, tag):
        if (digest := objects.get(name, "")) and is_commit(digest):
            return _Commit(name, digest, objects.get(f"{tag}^{{}}", digest) if name == tag else digest)
    return None


def _subdirectory(root: Path, path: str) -> Path:
    """Return the directory `path` of a checkout, reached through directories only. Raises SourceError."""
    for part in filter(None, path.split("/")):
        root = root / part
        if part in ("..", ".git") or not root.exists() or root.is_symlink() or not root.is_dir():
            raise SourceError(f'The repository has no directory "{path}".')
    return root


def _walk(directory: Path, prefix: str) -> Iterator[tuple[Entry, str]]:
    """Yield all entries of a checkout, each directory before its contents, names in byte order, owned by root."""
    for item in sorted(os.scandir(directory), key=lambda item: os.fsencode(item.name)):
        path = prefix + item.name
        if item.name.startswith(WHITEOUT_PREFIX):
            raise SourceError(f'The repository has a file "{path}", which would be a whiteout in an image.')
        status = item.stat(follow_symlinks=False)
        mode, mtime = status.st_mode, status.st_mtime_ns
        mode = stat.S_IMODE(mode if HAS_MODES else made_up_mode(mode))
        if item.is_symlink():
            link = os.readlink(item.path).replace(os.sep, "/")  # noqa: PTH115 - a Path would change "./x" and "x/"
            yield Entry(path, SYMLINK, mode, mtime=mtime, link=link), item.path
        elif item.is_dir(follow_symlinks=False):
            yield Entry(path, DIR, mode, mtime=mtime), item.path
            yield from _walk(Path(item.path), f"{path}/")
        elif stat.S_ISREG(status.st_mode):
            yield Entry(path, FILE, mode, mtime=mtime, size=status.st_size), item.path
