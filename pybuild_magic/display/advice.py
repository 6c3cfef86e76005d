"""Advice after a failed step: from its exit code, and from known messages in its log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import BuildError, RunError

_MESSAGES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (
            r"(?:^|: )(?:line \d+: )?([\w./+-]+): (?:command )?not found",
            "Install “{}” in an earlier RUN, or check its name and the PATH: the image does not have it.",
        ),
        (r"E: Unable to locate package (\S+)", "Put `apt-get update &&` before `apt-get install` in the same RUN."),
        (
            r"(?i)temporary failure in name resolution|could not resolve|bad address|name or service not known",
            "The step could not resolve a host name: check the network or a proxy (--build-arg HTTP_PROXY=…), or try "
            "--network=host.",
        ),
        (
            r"(?i)setgroups\b.*(?:operation not permitted|invalid argument|\b1: |\b22: )"
            r"|(?:chown|changing (?:ownership|group) of|set(?:res)?[ug]id)\b.*invalid argument",
            "The step needs more user ids than this machine provides: `%build doctor` shows how to get them.",
        ),
        (
            r"(?i)\bmount: .*(?:permission denied|operation not permitted|must be superuser)"
            r"|\bunshare: .*operation not permitted",
            "A step cannot mount anything: use RUN --mount=type=tmpfs, bind or cache, or --security=insecure.",
        ),
        (
            r"(?i)no space left on device.*/dev/shm|/dev/shm.*no space left on device|\(shm\)|^bus error\b",
            "/dev/shm is full: enlarge it with --shm-size=1g; for the machine's own, see `%build doctor`.",
        ),
        (
            r"(?i)too many open files",
            "The limit of open files is too low: raise it with --ulimit nofile=65536:65536; `%build doctor` shows its "
            "maximum.",
        ),
        (
            r"(?i)(?:\bfork\b|pthread_create|clone|thread).*resource temporarily unavailable|cannot fork\b"
            r"|can't start new thread|pthread_create failed",
            "No more processes or threads may be started: `%build doctor` shows the limit and how to raise it.",
        ),
        (
            r"(?i)no space left on device|disk quota exceeded",
            "A disk is full: `%build du` shows what the cache takes, `%build prune` frees it.",
        ),
        (
            r"(?i)certificate verify failed|unable to get local issuer certificate|CERTIFICATE_VERIFY_FAILED",
            "The image does not trust a server's certificate: install ca-certificates, or your proxy's certificate "
            "authority.",
        ),
        (
            r"(?i)no matching distribution found for|could not find a version that satisfies the requirement",
            "Check the package's name and version, and whether it supports the image's Python and platform.",
        ),
        (r"(?i)exec format error", "The program was built for another platform than the image: check --platform."),
        (
            r"(?i)read-only file system",
            "This path is read-only: bind mounts need `rw`, and only `/` and cache mounts are writable.",
        ),
        (
            r"(?i)permission denied",
            "Check the user (USER) and the file's mode and owner: COPY has --chmod=755 and --chown=USER.",
        ),
        (
            r"(?:^|: )([\w./+-]+): No such file or directory",
            "“{}” does not exist in the image at this step: COPY it first, or check WORKDIR.",
        ),
        (r"ModuleNotFoundError: No module named '([\w.]+)'", "Install “{}” in an earlier RUN."),
    )
)
_CODES = {
    126: "The command was found but cannot be executed: check that it is executable, and built for this platform.",
    127: "The image does not have that command: install it in an earlier RUN, or check its name and the PATH.",
    135: "A bus error usually means that /dev/shm is full: enlarge it with --shm-size=1g, or see `%build doctor`.",
    137: "The process was killed, probably because memory ran out: make the step use less, or add memory (`%build "
    "doctor` shows how much there is).",
    139: "The process crashed (segmentation fault): check that the program was built for this platform.",
}
_LAST = 40
"""The number of lines at the end of a log that are searched for a reason."""


def advice(error: BuildError, lines: Iterable[str] = ()) -> str:
    """Return the next step, or "" when nothing is known; `lines` are the last lines of the failed step."""
    if not isinstance(error, RunError):
        return error.hint
    return " ".join(filter(None, (error.hint or _advice_on(error, lines), error.look)))


def _advice_on(error: RunError, lines: Iterable[str]) -> str:
    for line in reversed(list(lines)[-_LAST:]):
        for pattern, words in _MESSAGES:
            if match := pattern.search(line):
                return words.format(*(group for group in match.groups() if group))
    return _CODES.get(error.exit_code, "")
