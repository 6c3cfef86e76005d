"""Git URLs in Dockerfiles and contexts: their recognition, and the LLB source that fetches them."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

import msgspec

from ..errors import DockerfileError
from ..golang.parsebool import parse_bool
from ..golang.path import join_path
from ..golang.text import quote
from ..llb.ops import SourceOp
from ..untrusted.foreign import split_url

_SCHEME = re.compile(r"^[a-zA-Z0-9]+://")
_SCP = re.compile(r"^([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(.*?)(?:\?(.*?))?(?:#(.*))?$")
_SCHEMES = frozenset({"http", "https", "ssh", "git"})
_FLAGS = ("keep-git-dir", "submodules", "fetch-by-commit")
_TEXTS = ("ref", "tag", "branch", "subdir", "checksum", "commit", "mtime")


class GitRef(msgspec.Struct, frozen=True):
    """A repository, and the wanted part of it. None means unspecified."""

    remote: str
    """The URL for `git fetch`: without query and fragment."""
    host: str
    path: str
    scheme: str
    ref: str = ""
    """Branch, tag or commit; "" is the remote's default branch."""
    subdir: str = ""
    checksum: str = ""
    """The commit, or the start of its hash, that `ref` must be."""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    """`commit` gives files the commit's time; "" or `checkout` the time of the checkout."""
    fetch_by_commit: bool = False
    local_lookalike: bool = False
    """Whether it is `github.com/…` without a scheme: a Git URL as a context, a path in COPY and ADD."""

    def source(self) -> SourceOp:
        """Return its LLB source; the identifier consists of host and path, so that ssh and https share a cache."""
        identifier = f"git://{self.host}{join_path('/', self.path)}"
        if self.ref or self.subdir:
            identifier += f"#{self.ref}" + (f":{self.subdir}" if self.subdir else "")
        remote = f"https://{self.remote}" if self.local_lookalike else self.remote
        attrs = {
            "git.fullurl": remote,
            "git.authtokensecret": "GIT_AUTH_TOKEN",
            "git.authheadersecret": "GIT_AUTH_HEADER",
        }
        if self.keep_git_dir:
            attrs["git.keepgitdir"] = "true"
        if self.scheme == "ssh":
            attrs["git.mountsshsock"] = "default"
        if self.checksum:
            attrs["git.checksum"] = self.checksum
        if self.submodules is False:
            attrs["git.skipsubmodules"] = "true"
        if self.mtime:
            attrs["git.mtime"] = self.mtime
        if self.fetch_by_commit:
            attrs["git.fetchbycommit"] = "true"
        return SourceOp(identifier, attrs)


def parse_git_ref(text: str) -> GitRef | None:
    """Return the Git URL in `text`, or None. An http(s) URL is one if its path ends in `.git`.

    The forms are BuildKit's: `URL#ref:subdir`, `URL?ref=…&subdir=…&checksum=…&keep-git-dir=…&submodules=…`,
    `user@host:path`. Raises DockerfileError for a contradictory or unknown query.
    """
    if text.startswith(("./", "../")):
        return None
    lookalike = text.startswith("github.com/")
    if lookalike:
        text = "https://" + text
    if _SCHEME.match(text):
        split = split_url(text)
        scheme, path = split.scheme.lower(), unquote(split.path)
        if scheme not in _SCHEMES:
            return None
        if scheme in ("http", "https") and not lookalike and not path.endswith(".git"):
            return None
        host = split.netloc.rpartition("@")[2]
        remote = f"{scheme}://{split.netloc}{split.path}"
        query, fragment = split.query, unquote(split.fragment)
    elif match := _SCP.match(text):
        user, host, path, query, fragment = (part or "" for part in match.groups())
        scheme, remote = "ssh", f"{user}@{host}:{path}"
    else:
        return None
    ref, _, subdir = fragment.partition(":")
    parsed = GitRef(
        remote=remote.removeprefix("https://") if lookalike else remote,
        host=host,
        path=path,
        scheme=scheme,
        ref=ref,
        subdir=join_path("/", subdir).lstrip("/"),
        local_lookalike=lookalike,
    )
    return _with_query(parsed, query) if query else parsed


def _with_query(parsed: GitRef, query: str) -> GitRef:
    values: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in values:
            raise DockerfileError(f"query {quote(key)} has multiple values")
        if not value and key not in _FLAGS:
            raise DockerfileError(f"query {quote(key)} has no value")
        if key not in _FLAGS and key not in _TEXTS:
            raise DockerfileError(f"unexpected query {quote(key)}")
        values[key] = value
    ref = _agree("ref", parsed.ref, values.get("ref", ""))
    if tag := values.get("tag", ""):
        ref = _agree("ref", ref, tag if tag.startswith("refs/tags/") else f"refs/tags/{tag}")
    if branch := values.get("branch", ""):
        if tag:
            raise DockerfileError("branch conflicts with tag")
        ref = _agree("ref", ref, branch if branch.startswith("refs/heads/") else f"refs/heads/{branch}")
    mtime = values.get("mtime", "")
    if mtime not in ("", "checkout", "commit"):
        raise DockerfileError(f'invalid mtime value: {quote(mtime)} (must be "checkout" or "commit")')
    return msgspec.structs.replace(
        parsed,
        ref=ref,
        subdir=_agree("subdir", parsed.subdir, values.get("subdir", "")),
        checksum=values.get("commit", values.get("checksum", "")),
        keep_git_dir=_flag(values, "keep-git-dir"),
        submodules=_flag(values, "submodules"),
        mtime=mtime,
        fetch_by_commit=bool(_flag(values, "fetch-by-commit")),
    )


def _agree(name: str, value: str, queried: str) -> str:
    if value and queried and value != queried:
        raise DockerfileError(f"{name} conflicts: {quote(value)} vs {quote(queried)}")
    return queried or value


def _flag(values: dict[str, str], key: str) -> bool | None:
    if key not in values:
        return None
    text = values[key] or "true"
    value = parse_bool(text)
    if value is None:
        raise DockerfileError(f"invalid {key} value: {quote(text)}")
    return value
