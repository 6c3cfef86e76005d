"""Builds in a process of their own, of whatever user: takes what to do as JSON, and prints the seconds of each.

`bases` (name → archive) are loaded first; then each of `builds` ([Dockerfile, context, outputs]) is built.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pybuild_magic
from pybuild_magic.builders import embedded_builder
from pybuild_magic.builders.embedded.sandbox import Sandbox
from pybuild_magic.images.load import load_image


def main() -> None:
    """Do what standard input says."""
    job: dict[str, Any] = json.load(sys.stdin)
    os.environ["PYBUILD_HOME"] = tempfile.mkdtemp(prefix="home-")
    for name, layout in job["bases"].items():
        load_image(embedded_builder().store, layout, name)
    times: list[float] = []
    for dockerfile, context, outputs in job["builds"]:
        began = time.monotonic()
        pybuild_magic.build(dockerfile, Path(context), outputs=outputs, progress="none")
        times.append(time.monotonic() - began)
    with Sandbox(embedded_builder().store) as sandbox:
        print(json.dumps({"times": times, "rung": sandbox.rung.number if sandbox.rung else 0}))


if __name__ == "__main__":
    main()
