"""Install what the services need from Debian's packages, as root; at once done when all is there.

Run it as `python -m tests.services.install`, or with `benchmarks` for what only those need. Without root, or on another
system, it prints what is missing and succeeds: the tests then skip with the same reasons.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import chromium
from .common import ServiceMissingError, find

PACKAGES = {
    "bindfs": "bindfs",
    "busybox": "busybox-static",
    "db5.3_load": "db5.3-util",
    "debootstrap": "debootstrap",
    "docker-registry": "docker-registry",
    "git": "git",
    "ip": "iproute2",
    "newuidmap": "uidmap",
    "proot": "proot",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-x86_64": "qemu-system-x86",
    "rpmbuild": "rpm",
    "runc": "runc",
    "skopeo": "skopeo",
    "umoci": "umoci",
    "unshare": "util-linux",
}
"""Program -> the package that has it."""
PEERS = {"buildah": "buildah"}
"""The same for what is only measured."""

LOCK_SECONDS = 900


def missing(*, peers: bool = False) -> list[str]:
    """The packages that are not here yet; with `peers`, also those of benchmarks."""
    programs = PACKAGES | (PEERS if peers else {})
    packages = [package for program, package in programs.items() if find(program) is None]
    try:
        chromium.executable()
    except ServiceMissingError:
        packages.append("chromium")
    return packages


def install(packages: list[str]) -> None:
    """Install packages by apt, each by itself if they do not install together; wait for other users of apt."""
    had_registry = "docker-registry" not in packages
    if not _apt("install", *packages):
        # The lists may be absent or old: their update is what takes time, so it is not tried first.
        _apt("update")
        if not _apt("install", *packages):
            for package in packages:
                _apt("install", package)
    if not had_registry and Path("/run/systemd/system").is_dir():
        # The package starts a registry on port 5000; the tests start their own.
        command = ["systemctl", "disable", "--now", "docker-registry"]
        subprocess.run(command, check=False, capture_output=True)


def _apt(*arguments: str) -> bool:
    """Run apt-get; True if it succeeded."""
    options = ["--quiet=2", "--yes", "--no-install-recommends", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Output of packages' scripts goes to standard error: whoever reads our output wants our lines alone.
    done = subprocess.run(["apt-get", *options, *arguments], env=env, stdout=sys.stderr, check=False)
    return done.returncode == 0


def main(*, peers: bool = False) -> int:
    """Install what is missing and say what stays missing; 1 only if root could not install something."""
    wanted = missing(peers=peers)
    if not wanted:
        return 0
    if os.geteuid() != 0 or find("apt-get") is None:
        print(f"Some tests will be skipped. As root on Debian: apt-get install {' '.join(wanted)}")
        return 0
    print(f"Installing for the tests: {' '.join(wanted)}", flush=True)
    install(wanted)
    left = missing(peers=peers)
    if left:
        print(f"Could not be installed; the tests that need them cannot run: {' '.join(left)}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(peers="benchmarks" in sys.argv[1:]))
