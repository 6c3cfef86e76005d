"""The Git repository and commit of a local context, as buildx passes them to a builder that attests provenance."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ..golang.parsebool import parse_bool
from ..untrusted.redaction import redact_url, split_credentials
from . import DirSource, LocalDir

_SECONDS = 10.0
"""Seconds to wait for an answer of git, which reads a few small files."""


def vcs_attributes(local_dirs: Mapping[str, LocalDir], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return `vcs:revision`, `vcs:source` and the path of each directory within the context's repository.

    They are left out when there is no repository, no commit or no git, and with BUILDX_GIT_INFO=false. With
    BUILDX_GIT_CHECK_DIRTY=true, the revision is marked if files differ from it. The URL has no credentials.
    """
    environ = os.environ if environ is None else environ
    context = local_dirs.get("context")
    if not isinstance(context, DirSource) or parse_bool(environ.get("BUILDX_GIT_INFO") or "true") is False:
        return {}
    lines = _git(context.root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
    if len(lines) != 2:
        return {}
    top, revision = Path(lines[0]), lines[1]
    if parse_bool(environ.get("BUILDX_GIT_CHECK_DIRTY") or "false") and _git(context.root, "status", "--porcelain"):
        revision += "-dirty"
    attributes = {"vcs:revision": revision}
    if url := _remote(context.root):
        attributes["vcs:source"] = redact_url(split_credentials(url)[0])
    for name, source in local_dirs.items():
        if isinstance(source, DirSource) and source.root.is_relative_to(top):
            attributes[f"vcs:localdir:{name}"] = source.root.relative_to(top).as_posix()
    return attributes


def _remote(root: Path) -> str:
    """Return the URL of the branch's remote, or else of `origin` or `upstream`, without connecting to it."""
    url = _git(root, "ls-remote", "--get-url")
    return _git(root, "remote", "get-url", "--", "upstream") if url == "origin" else url


def _git(root: Path, *arguments: str) -> str:
    """Return the output of git in `root`; "" when it fails. Hooks and programs that a repository names are not run."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    safe = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
    try:
        done = subprocess.run(
            ["git", *safe, *arguments],
            cwd=root,
            env={**environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
