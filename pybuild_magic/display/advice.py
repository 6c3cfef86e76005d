"""Advice after a step has failed: by its exit code, and by what is known of the messages in its log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import BuildError, RunError

_MESSAGES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (
            r"(?:^|: )(?:line \d+: )?([\w./+-]+): (?:command )?not found",
            "The image has no program “{}”: install it in an earlier RUN, or check its name and the PATH.",
        ),
        (r"E: Unable to locate package (\S+)", "Put `apt-get update &&` before `apt-get install` in the same RUN."),
        (
            r"(?i)temporary failure in name resolution|could not resolve|bad address|name or service not known",
            "The step could not find a host by its name: check the network, a proxy (--build-arg HTTP_PROXY=…), or try "
            "--network=host.",
        ),
        (
            r"(?i)setgroups\b.*(?:operation not permitted|invalid argument|\b1: |\b22: )"
            r"|(?:chown|changing (?:ownership|group) of|set(?:res)?[ug]id)\b.*invalid argument",
            "The step wants more user ids than this machine gives it: `%build doctor` shows how to get them.",
        ),
        (
            r"(?i)\bmount: .*(?:permission denied|operation not permitted|must be superuser)"
            r"|\bunshare: .*operation not permitted",
            "A step cannot mount anything itself: use RUN --mount=type=tmpfs, bind or cache, or --security=insecure.",
        ),
        (
            r"(?i)no space left on device.*/dev/shm|/dev/shm.*no space left on device|\(shm\)|^bus error\b",
            "/dev/shm is full: make it larger with --shm-size=1g, or the machine's own as `%build doctor` shows.",
        ),
        (
            r"(?i)too many open files",
            "Too few files may be open: raise that with --ulimit nofile=65536:65536. `%build doctor` shows how far.",
        ),
        (
            r"(?i)no space left on device",
            "A disk is full: `%build du` shows what the cache takes, `%build prune` frees it.",
        ),
        (
            r"(?i)certificate verify failed|unable to get local issuer certificate|CERTIFICATE_VERIFY_FAILED",
            "A server's certificate is not trusted in the image: install ca-certificates, or your proxy's authority.",
        ),
        (
            r"(?i)no matching distribution found for|could not find a version that satisfies the requirement",
            "Check the package's name and version, and whether it supports the image's Python and platform.",
        ),
        (r"(?i)exec format error", "The program is made for another platform than the image: check --platform."),
        (
            r"(?i)read-only file system",
            "That place cannot be written to: bind mounts need `rw`, and only `/` and cache mounts are writable.",
        ),
        (
            r"(?i)permission denied",
            "Check the user (USER) and the file's mode and owner: COPY has --chmod=755 and --chown=USER.",
        ),
        (
            r"(?:^|: )([\w./+-]+): No such file or directory",
            "“{}” is not in the image at this step: COPY it first, or check WORKDIR.",
        ),
        (r"ModuleNotFoundError: No module named '([\w.]+)'", "Install “{}” in an earlier RUN."),
    )
)
_CODES = {
    126: "The command was found but cannot be executed: is it a program for this platform, and executable?",
    127: "The image does not have that command: install it in an earlier RUN, or check its name and the PATH.",
    135: "Memory was not where it should be (bus error), most likely because /dev/shm is full: make it larger with "
    "--shm-size=1g, or the machine's own as `%build doctor` shows.",
    137: "The process was killed, most likely because memory ran out: give the machine more, or let the step use less.",
    139: "The process crashed (segmentation fault): is the program made for this platform?",
}
_LAST = 40
"""Lines at the end of a log in which a reason is looked for."""


def advice(error: BuildError, lines: Iterable[str] = ()) -> str:
    """Return the next step, "" when there is no advice; `lines` are the last ones that the failed step printed."""
    if not isinstance(error, RunError):
        return error.hint
    return " ".join(filter(None, (error.hint or _advice_on(error, lines), error.look)))


def _advice_on(error: RunError, lines: Iterable[str]) -> str:
    for line in reversed(list(lines)[-_LAST:]):
        for pattern, words in _MESSAGES:
            if match := pattern.search(line):
                return words.format(*(group for group in match.groups() if group))
    return _CODES.get(error.exit_code, "")
