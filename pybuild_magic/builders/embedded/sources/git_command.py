"""Git commands on behalf of a Dockerfile: isolated from the user's configuration, killed when the build is stopped.

Values from the Dockerfile (URLs, refs) are checked first, and passed after `--`; git uses only the protocols of
`PROTOCOLS`, for submodules too; it never asks for passwords; secrets are in its environment, never in its arguments,
which other users could read.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ....cancel import Cancel
from ....errors import SourceError, UnsupportedError
from ....net.pace import LIMIT_VARIABLE, Pace
from ....portable import kill_group
from ....status.report import VertexReport
from ....untrusted.redaction import redact, redact_url

PROTOCOLS = "http:https:ssh:git"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_URL = re.compile(r"(?:https?|ssh|git)://[^\s\x00-\x1f-][^\s\x00-\x1f]*", re.IGNORECASE)
_SCP = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]*@[a-zA-Z0-9][a-zA-Z0-9.-]*:[^\s\x00-\x1f-][^\s\x00-\x1f]*")
_BAD_REF = re.compile(r"^[-+]|[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{")
_LAST_LINES = 10


class GitError(Exception):
    """A git command that failed; `output` is its standard error, without passwords."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output

    @property
    def reason(self) -> str:
        """The line that says what went wrong: git's first complaint, because later ones are consequences."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        for prefix in ("fatal: ", "error: ", "ERROR: ", "remote: "):
            for line in lines:
                if line.startswith(prefix):
                    return line.removeprefix(prefix).rstrip(".")
        return (lines or ["git failed"])[-1].rstrip(".")


class Git:
    """The git program with one configuration: for one remote, in one build."""

    def __init__(self, cancel: Cancel, progress: VertexReport, *, ssh: str = "", agent: str = "") -> None:
        """Prepare git. `ssh` has options for ssh, `agent` is the socket of an SSH agent."""
        self._cancel = cancel
        self._progress = progress
        self._config: list[tuple[str, str]] = [
            ("init.defaultBranch", "master"),
            ("advice.detachedHead", "false"),
            ("core.hooksPath", os.devnull),
            ("gc.auto", "0"),
        ]
        self._pace = Pace.from_environment()
        if self._pace.floor:
            self._config.append(("http.lowSpeedLimit", str(self._pace.floor)))
            self._config.append(("http.lowSpeedTime", f"{self._pace.window:.0f}"))
        self._env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "HOME": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_ALLOW_PROTOCOL": PROTOCOLS,
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_SSH_COMMAND": f"ssh -F {os.devnull} -o BatchMode=yes -o IdentityFile={os.devnull} {ssh}",
        }
        for name in (*_PROXIES, *map(str.lower, _PROXIES), "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT"):
            if name in os.environ:
                self._env[name] = os.environ[name]
        if agent:
            self._env["SSH_AUTH_SOCK"] = agent

    def configure(self, key: str, value: str) -> None:
        """Set a configuration variable for every command, kept in the environment only."""
        self._config.append((key, value))

    def run(
        self,
        *arguments: str,
        git_dir: Path | None = None,
        work_tree: Path | None = None,
        env: Mapping[str, str] | None = None,
        quiet: bool = False,
    ) -> str:
        """Run `git ARGUMENTS` to its end, and return its output. Raises GitError, UnsupportedError and Interrupted."""
        self._cancel.check()
        options: list[str] = []
        if work_tree is not None:
            options += ["--work-tree", str(work_tree)]
        if git_dir is not None:
            options += ["--git-dir", str(git_dir)]
        variables = {**self._env, **(env or {}), "GIT_CONFIG_COUNT": str(len(self._config))}
        for number, (key, value) in enumerate(self._config):
            variables[f"GIT_CONFIG_KEY_{number}"] = key
            variables[f"GIT_CONFIG_VALUE_{number}"] = value
        out, errors, code = self._execute(["git", *options, *arguments], work_tree, variables)
        redacted = redact(errors)
        for stream, text in ((1, redact(out)), (2, redacted)):
            if text and not quiet:
                self._progress.log(text.encode("utf-8", "surrogateescape"), stream)
        if code != 0:
            raise GitError("\n".join(redacted.splitlines()[-_LAST_LINES:]))
        return out

    def _execute(
        self, command: Sequence[str], directory: Path | None, variables: Mapping[str, str]
    ) -> tuple[str, str, int]:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=directory,
                env=dict(variables),
                start_new_session=True,
                umask=0o022,
            )
        except FileNotFoundError:
            raise UnsupportedError(
                "Git sources need the program git, which is not installed.",
                hint="Install git, or use --builder to build with a real BuildKit.",
            ) from None
        except OSError as error:
            raise SourceError(f"git cannot be started: {error.strerror}.") from error

        def kill() -> None:
            # git's helpers (ssh, git-remote-https) are in its process group, and do not end with it.
            with contextlib.suppress(ProcessLookupError):
                kill_group(process)

        limit = self._pace.limit or None
        with self._cancel.on_cancel(kill):
            try:
                out, errors = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                kill()
                process.communicate()
                raise GitError(f"fatal: git took longer than {limit:g} seconds ({LIMIT_VARIABLE})") from None
        self._cancel.check()
        return out.decode("utf-8", "surrogateescape"), errors.decode("utf-8", "replace"), process.returncode


def is_commit(text: str) -> bool:
    """Return whether `text` is a full commit hash, SHA-1 or SHA-256."""
    return _SHA.fullmatch(text) is not None


def check_remote(url: str) -> str:
    """Return `url` if git may be given it. Raises SourceError for another protocol, or a text that could be an
    option.
    """
    if _URL.fullmatch(url) or _SCP.fullmatch(url):
        return url
    raise SourceError(
        f"{redact_url(url)!r} is not a Git URL that a build may use.",
        hint="Use https://, ssh://, git:// or user@host:path.",
    )


def check_ref(ref: str) -> str:
    """Return `ref` if it can name a branch, a tag or a commit. Raises SourceError."""
    if _BAD_REF.search(ref):
        raise SourceError(f"invalid git ref {ref!r}.")
    return ref
