"""Builds in a separate process, as any user: takes a JSON request on standard input, and prints a JSON answer.

`bases` (name → archive) are loaded first; then each of `builds` is built: [Dockerfile, context, outputs], optionally
followed by an object with further arguments of `build`. The answer has their seconds, the digests of their images,
and `loaded`, the CPU seconds before the first build.
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
    """Carry out the request on standard input."""
    job: dict[str, Any] = json.load(sys.stdin)
    os.environ["PYBUILD_HOME"] = tempfile.mkdtemp(prefix="home-")
    for name, layout in job["bases"].items():
        load_image(embedded_builder().store, layout, name)
    loaded = time.process_time()
    times: list[float] = []
    digests: list[str] = []
    for dockerfile, context, outputs, *more in job["builds"]:
        began = time.monotonic()
        arguments: dict[str, Any] = more[0] if more else {}
        result = pybuild_magic.build(dockerfile, Path(context), outputs=outputs, progress="none", **arguments)
        times.append(time.monotonic() - began)
        digests.append(result.image.digest if result.image else "")
    with Sandbox(embedded_builder().store) as sandbox:
        rung = sandbox.rung.number if sandbox.rung else 0
    embedded_builder().close()  # waits for the process that started every RUN, so that their CPU time is counted
    print(json.dumps({"times": times, "loaded": loaded, "digests": digests, "rung": rung}))


if __name__ == "__main__":
    main()
