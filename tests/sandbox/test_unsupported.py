"""Where there can be no sandboxes, the error says what is missing and where to go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox.client import Helper
from pybuild_magic.errors import UnsupportedError

BUILD = """
import os, struct, sys
from pybuild_magic.builders.embedded.sandbox.helper import linux
ptrace = {"x86_64": 101}.get(os.uname().machine, 117)
program = [(0x20, 0, 0, 0), (0x15, 0, 1, ptrace), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
linux.set_seccomp(b"".join(struct.pack("=HBBI", *line) for line in program))
from pathlib import Path
from pybuild_magic.builders.embedded.sandbox import RunSpec, Sandbox
from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import UnsupportedError
from pybuild_magic.store import Store
store = Store(Path(sys.argv[1]))
sandbox = Sandbox(store)
try:
    sandbox.run(RunSpec(("true",)), print, Cancel())
except UnsupportedError as error:
    print(error)
directory = store.root / "leftover" / "deep"
directory.mkdir(parents=True)
sandbox.remove(directory.parent)
print(directory.parent.exists())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="takes its own rights away, so it starts as root")
def test_without_namespaces_the_error_names_them_and_the_way_on(tmp_path: Path) -> None:
    """As in a hardened container: root, but with no capability, no user namespaces and no ptrace to be had."""
    ran = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--mount", "sh", "-c"),
            'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$@"',
            *("sh", sys.executable, "-c", BUILD, str(tmp_path / "store")),
        ],
        capture_output=True,
        text=True,
    )
    message, removed = ran.stdout.splitlines()
    assert "RUN needs namespaces" in message
    assert "--builder" in message
    assert removed == "False"


def test_off_linux_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UnsupportedError, match=r"Linux.*darwin.*--builder"):
        Helper(lambda: tmp_path).start()
