"""The committed messages are those that `make proto` makes; and nothing of gRPC is imported before it is needed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTO = "pybuild_magic/builders/proto"


def test_the_generated_code_is_current(tmp_path: Path) -> None:
    sources = sorted((ROOT / PROTO).glob("*.proto"))
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{ROOT}",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
    ]
    subprocess.run([*command, *sources], check=True)

    def text(path: Path) -> str:
        lines = "# Protobuf Python Version.*?\n|from google.protobuf import runtime_version.*?\n"
        return re.sub(rf"{lines}|(?s:_runtime_version\.Validate.*?\n\)\n)", "", path.read_text())

    made = sorted((tmp_path / PROTO).iterdir())
    assert len(made) == 2 * len(sources)
    for path in made:
        assert text(path) == (ROOT / PROTO / path.name).read_text(), f"{path.name} is out of date: run `make proto`"


def test_embedded_builds_import_no_grpc() -> None:
    program = (
        "import sys, pybuild_magic, pybuild_magic.notebook.magics, pybuild_magic.notebook.commands\n"
        "from pybuild_magic.builders import choose; choose('embedded')\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('grpc', 'google', 'hpack', 'cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
