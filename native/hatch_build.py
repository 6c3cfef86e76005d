"""The build hook that puts the tracer into the wheel of its machine, and into editable installs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))
import build

_PLATFORMS = "manylinux_2_17_{0}.manylinux2014_{0}.musllinux_1_1_{0}"
"""The program is static and needs no C library, so the wheel is for glibc and for musl."""


class TracerHook(BuildHookInterface[Any]):
    """Builds the tracer if necessary. A wheel without it fits any machine."""

    def dependencies(self) -> list[str]:
        """Return the compiler, if there is something to compile."""
        arch = build.architecture()
        return ["ziglang>=0.13"] if self.target_name == "wheel" and arch and not build.is_built(arch) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the tracer and the platform tag to `build_data`; hatchling calls this before it builds."""
        arch = build.architecture()
        if self.target_name != "wheel" or arch is None:
            return
        directory = build.build(arch).relative_to(self.root)
        if version == "standard":
            build_data["artifacts"].append(f"/{directory.as_posix()}/")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{_PLATFORMS.format(arch)}"
