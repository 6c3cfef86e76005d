"""Root filesystems of Debian, made by debootstrap from the mirror that this machine's apt uses."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from .common import ServiceError, ServiceMissingError, need_root, run, tail, tool

MIRROR_VARIABLE = "PYBUILD_TEST_DEBIAN_MIRROR"


def host_suite() -> str:
    """The code name of the Debian release that this machine runs, such as `bookworm`."""
    release = platform.freedesktop_os_release()
    if release.get("ID") == "debian" and (suite := release.get("VERSION_CODENAME")):
        return suite
    return "stable"


def mirror() -> str:
    """The URL of a Debian mirror: $PYBUILD_TEST_DEBIAN_MIRROR, or the one in this machine's apt sources.

    Raises:
        ServiceMissingError: apt has no plain Debian mirror here.
    """
    if url := os.environ.get(MIRROR_VARIABLE):
        return url
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    for file in files:
        if file.suffix in {".list", ".sources"} and file.is_file():
            for url in _binary_sources(file.read_text(errors="replace"), deb822=file.suffix == ".sources"):
                # The security archive holds updates alone, no whole suite.
                if re.fullmatch(r"https?://\S+/debian/?", url):
                    return url
    raise ServiceMissingError(
        f"no Debian mirror is in this machine's apt sources: set {MIRROR_VARIABLE} to the URL of one"
    )


def _binary_sources(text: str, *, deb822: bool) -> list[str]:
    """URLs of the `deb` entries of an apt sources file; sources.list(5) gives both formats."""
    text = re.sub(r"^\s*#.*\n?", "", text, flags=re.MULTILINE)
    if not deb822:
        return re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)", text, flags=re.MULTILINE)
    urls: list[str] = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, flags=re.MULTILINE))
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").strip() != "no":
            urls += fields.get("URIs", "").split()
    return urls


def bootstrap(root: Path, suite: str, packages: Sequence[str]) -> None:
    """Make a minimal Debian with `packages` at `root`, whole or not at all.

    Raises:
        ServiceMissingError: not root, no debootstrap or no mirror.
        ServiceError: the suite cannot be installed, as happens to sid for a day at a time.
    """
    need_root("debootstrap")
    part = root.with_name(root.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    command = [
        # A mount namespace of its own, so that a killed debootstrap leaves no /proc mounted in the tree.
        *("unshare", "--mount", "--propagation", "private", tool("debootstrap")),
        *("--variant=minbase", f"--include={','.join(packages)}", suite, part, mirror()),
    ]
    # A fixed date for what the packages' scripts write, as the last change of passwords.
    env = {**os.environ, "SOURCE_DATE_EPOCH": "0", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    done = run(command, env=env, check=False, timeout=1800)
    if done.returncode != 0:
        shutil.rmtree(part, ignore_errors=True)
        raise ServiceError(f"debootstrap of {suite} failed:\n{tail(done.stdout + done.stderr, 5)}")
    shutil.rmtree(part / "var/cache/apt/archives", ignore_errors=True)
    part.rename(root)
