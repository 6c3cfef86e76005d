"""The part of micromamba's command line that our Dockerfiles use, made of rattler: the solver and linker of pixi.

It takes the place of micromamba, which is in no registry, in the image of the tests. rattler is in /opt/rattler there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from rattler import Channel, MatchSpec, VirtualPackage, install, solve


def main(arguments: list[str]) -> int:
    """Run a command line."""
    parser = argparse.ArgumentParser(prog="micromamba")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create")
    create.add_argument("--yes", action="store_true", required=True)
    create.add_argument("--always-copy", action="store_true")
    create.add_argument("--prefix", required=True)
    create.add_argument("--channel", action="append", default=[])
    create.add_argument("--file", required=True)
    create.add_argument("specs", nargs="*")
    inside = commands.add_parser("run")
    inside.add_argument("--prefix", required=True)
    inside.add_argument("words", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if given.command == "run":
        os.environ["PATH"] = f"{given.prefix}/bin:{os.environ['PATH']}"
        os.execvp(given.words[0], given.words)
    text = Path(given.file).read_text()
    if text.startswith("@EXPLICIT"):
        asyncio.run(_created(given.prefix, [], [_explicit(line) for line in text.split()[1:]]))
        return 0
    document: dict[str, Any] = yaml.safe_load(text)
    dependencies = document.get("dependencies") or []
    specs = [*(spec for spec in dependencies if isinstance(spec, str)), *given.specs]
    channels = [*given.channel, *(document.get("channels") or [])]
    asyncio.run(_created(given.prefix, channels, [MatchSpec(spec) for spec in specs]))
    pip = [line for spec in dependencies if isinstance(spec, dict) for line in spec.get("pip", ())]
    if pip:
        subprocess.run([f"{given.prefix}/bin/python", "-m", "pip", "install", *pip], check=True)
    return 0


def _explicit(line: str) -> MatchSpec:
    url, _, digest = line.partition("#")
    return MatchSpec(f"{url}[sha256={digest.removeprefix('sha256:')}]")


async def _created(prefix: str, channels: list[str], specs: list[MatchSpec]) -> None:
    sources = [Channel(channel) for channel in channels]
    records = await solve(sources, specs, platforms=["linux-64", "noarch"], virtual_packages=VirtualPackage.detect())
    cache = os.environ.get("CONDA_PKGS_DIRS")
    await install(records, prefix, cache_dir=Path(cache) if cache else None, show_progress=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
