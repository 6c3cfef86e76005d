"""The Dockerfile of a locked environment, and its files. It is readable, and gives the same image every time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

import msgspec

from . import pylock
from .base import Base
from .configuration import Configuration
from .lock import VCS, Lock
from .options import FreezeOptions
from .target import TargetPython
from .wheels import EPOCH

PREFIX = "/opt/env"
USER = "jovyan"
_CACHES = {"pip": "/root/.cache/pip", "uv": "/root/.cache/uv"}
_TOOLS = "/opt/install"
"""A virtual environment with just the installer, which stays out of the image."""
_COMPILE = (
    "find {places} -name '*.py' -print0 | LC_ALL=C sort -z \\\n"
    "    | PYTHONHASHSEED=0 xargs -0 -r -P $(nproc) -n 200 \\\n"
    "      {python} -SBm compileall -qq --invalidation-mode unchecked-hash || true"
)
"""Compiles bytecode that does not depend on times, so that it stays valid wherever it is copied.

The bytes are the same every time because each process always compiles the same files: which strings are shared in the
bytecode depends on the strings that the process has seen before.
"""
_COMPILE_ALONE = "PYTHONHASHSEED=0 {python} -SBm compileall -qq --invalidation-mode unchecked-hash {places} || true"
"""The same for images without find: slower, in a single process."""
_ACCOUNT = f"getent passwd 1000 || useradd --create-home --uid 1000 {USER}"
_ACCOUNT_BY_HAND = (
    f"echo '{USER}:x:1000:1000::/home/{USER}:/bin/sh' >> /etc/passwd \\\n"
    f" && mkdir -p /home/{USER} && chown 1000:1000 /home/{USER}"
)
_LEFTOVERS = "/var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* /var/log/*"
_APT = "apt-get update && apt-get install -y --no-install-recommends"
_WIDTH = 100


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that goes into a Dockerfile of an environment."""

    base: Base
    target: TargetPython
    lock: Lock
    requested: Sequence[str]
    configuration: Configuration
    installer: str = "pip"
    installers: Mapping[str, str] = {}
    """Requirements of the installers that have to be installed first, by name."""
    hashes: bool = True
    pylock: bool = False
    """Whether the lock is a `pylock.toml`, which has digests of everything."""
    packages: Sequence[str] = ()
    """Debian packages."""
    command: Sequence[str] = ("python3",)


def dockerfile(recipe: Recipe) -> str:
    """Return the text of the Dockerfile."""
    stages = [_head(recipe), *_wheels(recipe), _environment(recipe), _image(recipe)]
    return "\n".join(stages)


def files(recipe: Recipe) -> dict[str, str | bytes]:
    """Return the context of the Dockerfile."""
    context: dict[str, str | bytes] = {_lock_file(recipe): _lock_text(recipe)}
    if _has_sources(recipe):
        context[_lock_file(recipe, built=True)] = _lock_text(recipe, built=True)
    context |= {f"{name}.txt": lines for name, lines in recipe.installers.items()}
    return context | {f"wheels/{name}": content for name, content in sorted(recipe.lock.wheels.items())}


def _lock_file(recipe: Recipe, *, built: bool = False) -> str:
    if recipe.pylock:
        return pylock.SOURCES if built else pylock.NAME
    return "sources.txt" if built else "requirements.txt"


def _lock_text(recipe: Recipe, *, built: bool = False) -> str:
    if recipe.pylock:
        return pylock.text(recipe.lock.fetched(built=built), recipe.target)
    return recipe.lock.lines(built=built, hashes=recipe.hashes and not (built and _has_repositories(recipe)))


def flags(options: FreezeOptions, recipe: Recipe) -> tuple[str, ...]:
    """Return the flags of the build, which fix all times and pass the secrets."""
    secrets = tuple(word for secret in recipe.configuration.secrets for word in ("--secret", secret.flag))
    return (*fixed_times(options), *secrets)


def fixed_times(options: FreezeOptions) -> tuple[str, ...]:
    """Return the flags that fix all times in a build."""
    platform = ("--platform", options.platform) if options.platform else ()
    times = ("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "-o", "type=image,rewrite-timestamp=true")
    return ("-t", options.name, *times, *platform)


def _head(recipe: Recipe) -> str:
    count = len(recipe.lock.locked)
    lines = [f"# Python {recipe.target.python} with {count} distributions. Requested ones:"]
    lines += [f"#   {line}" for line in _wrapped(recipe.requested)]
    lines += [f"FROM {recipe.base.image} AS base", "USER root", ""]
    return "\n".join(lines)


def _wrapped(words: Sequence[str]) -> list[str]:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > _WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _has_sources(recipe: Recipe) -> bool:
    return any(pin.built for pin in recipe.lock.locked)


def _has_repositories(recipe: Recipe) -> bool:
    return any(pin.built and not pin.hashes for pin in recipe.lock.locked)


def _variables(recipe: Recipe) -> list[str]:
    return [f"ENV {name}={quoted(value)}" for name, value in recipe.configuration.variables.items()]


def quoted(value: str) -> str:
    """Return a value quoted for ENV, without anything in it being expanded."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _run(recipe: Recipe, *commands: str, mounts: Sequence[str] = (), network: bool = True) -> str:
    """Return a RUN with the secrets and the cache of the installer, and one command on each line."""
    cache = f"type=cache,target={_CACHES[recipe.installer]}"
    all_mounts = [*mounts, *((cache, *(secret.mount for secret in recipe.configuration.secrets)) if network else ())]
    words = [*(f"--mount={mount}" for mount in all_mounts)]
    lines = [*words, " \\\n && ".join(commands)]
    return "RUN " + " \\\n    ".join(lines)


def _wheels(recipe: Recipe) -> list[str]:
    if not _has_sources(recipe):
        return []
    headers = "" if recipe.base.has_headers else f" python{recipe.target.python}-dev"
    lines = [
        "# Distributions without a wheel are built from source; the compiler stays out of the image.",
        "FROM base AS wheels",
        f"ENV SOURCE_DATE_EPOCH={EPOCH} PYTHONHASHSEED=0",
        f"RUN {_APT} build-essential {' '.join(_programs(recipe))}{headers}{_venv(recipe)}",
        f"RUN {recipe.base.python} -m venv {_TOOLS}",
        *_variables(recipe),
        *_installer(recipe, "pip"),
        f"COPY {_lock_file(recipe, built=True)} .",
        _run(
            msgspec.structs.replace(recipe, installer="pip"),
            f"{_TOOLS}/bin/pip wheel --no-deps{_hashes(recipe, built=True)} --wheel-dir /wheels "
            f"-r {_lock_file(recipe, built=True)}",
        ),
        "",
    ]
    return ["\n".join(lines)]


def _programs(recipe: Recipe) -> list[str]:
    """Return the Debian packages that fetch the repositories. Many builds ask Git for their version."""
    origins = (locked.distribution.origin for locked in recipe.lock.fetched(built=True))
    return sorted({"git", *(VCS[origin.vcs] for origin in origins if origin and origin.vcs)})


def _hashes(recipe: Recipe, *, built: bool = False) -> str:
    """Return the option, after a space, that says which digests are required."""
    if not (built and _has_repositories(recipe)):
        return " --require-hashes" if recipe.hashes else ""
    # Commits have no digest; pip would miss it as soon as anything else has one.
    return " --no-require-hashes" if recipe.pylock else ""


def _installer(recipe: Recipe, name: str) -> list[str]:
    """Return the instructions that install an installer, if that has to be installed."""
    if name not in recipe.installers:
        return []
    hashes = " --require-hashes" if recipe.hashes else ""
    return [
        f"COPY {name}.txt .",
        _run(
            msgspec.structs.replace(recipe, installer="pip"),
            f"{_TOOLS}/bin/pip install --no-deps{hashes} -r {name}.txt",
        ),
    ]


def _venv(recipe: Recipe) -> str:
    """Return the Debian package, preceded by a space, for a base whose Python cannot install pip."""
    return "" if recipe.base.has_ensurepip else f" python{recipe.target.python}-venv"


def _compiled(recipe: Recipe, places: str) -> str:
    compile_all = _COMPILE if recipe.base.has_find else _COMPILE_ALONE
    return compile_all.format(python=f"{PREFIX}/bin/python", places=places)


def _environment(recipe: Recipe) -> str:
    python = recipe.base.python
    if recipe.installer == "uv":
        install = f"{_TOOLS}/bin/uv pip install --python {PREFIX}/bin/python --no-deps --link-mode=copy"
    else:
        install = f"{_TOOLS}/bin/pip --python {PREFIX}/bin/python install --progress-bar=off --no-deps --no-compile"
    commands = [f"{install}{_hashes(recipe)} -r {_lock_file(recipe)}"]
    mounts: list[str] = []
    if _has_sources(recipe):
        commands.append(f"{install} --no-index /wheels/*.whl")
        mounts.append("type=bind,from=wheels,source=/wheels,target=/wheels")
    lines = [
        f"# The installer has a separate environment{'; it installs by digest only' if recipe.hashes else ''}.",
        "FROM base AS environment",
        *([f"RUN {_APT}{_venv(recipe)}"] if _venv(recipe) else []),
        f"RUN {python} -m venv {_TOOLS} && {python} -m venv --without-pip {PREFIX}",
    ]
    lines += [
        *_variables(recipe),
        *_installer(recipe, recipe.installer),
        f"COPY {_lock_file(recipe)} .",
        _run(recipe, *commands, mounts=mounts),
        f"RUN {_compiled(recipe, f'{PREFIX}/lib')}",
        "",
    ]
    return "\n".join(lines)


def _image(recipe: Recipe) -> str:
    lines = ["FROM base", "ARG SOURCE_DATE_EPOCH"]
    if recipe.packages:
        lines.append(f"RUN {_APT} {' '.join(recipe.packages)} \\\n && rm -rf {_LEFTOVERS}")
    lines += [
        f"RUN {_ACCOUNT if recipe.base.has_useradd else _ACCOUNT_BY_HAND}",
        f"COPY --link --from=environment {PREFIX} {PREFIX}",
    ]
    if recipe.lock.wheels:
        lines += _local(recipe)
    words = ", ".join(f'"{word}"' for word in recipe.command)
    lines += [
        f"ENV PATH={PREFIX}/bin:$PATH",
        "USER 1000",
        f"WORKDIR /home/{USER}",
        f"CMD [{words}]",
    ]
    return "\n".join(lines) + "\n"


def _local(recipe: Recipe) -> list[str]:
    """Return the layer that changes most often: projects of this machine, above everything that they need."""
    wheels = recipe.lock.wheels.values()
    packages = f"{PREFIX}/lib/python{recipe.target.python}/site-packages"
    places = sorted({f"{packages}/{name}" for content in wheels for name in modules_of(content)})
    mounts = ["type=bind,source=wheels,target=/wheels"]
    if all(map(is_plain, wheels)):
        # pip takes most of a second to start.
        unpack = f'{PREFIX}/bin/python -m zipfile --extract "$wheel" {packages}'
        commands = [f"for wheel in /wheels/*.whl; do {unpack} || exit; done"]
    else:
        mounts.append(f"type=bind,from=environment,source={_TOOLS},target={_TOOLS}")
        pip = f"PYTHONPATH={_TOOLS}/lib/python{recipe.target.python}/site-packages {PREFIX}/bin/python -m pip"
        commands = [f"{pip} install --no-deps --no-index --no-compile /wheels/*.whl"]
    if places:
        commands.append(f"{{ {_compiled(recipe, ' '.join(places))}; }}")
    return [
        "# Projects of this machine, and wheels that are in no index.",
        _run(recipe, *commands, mounts=mounts, network=False),
    ]


def is_plain(wheel: bytes) -> bool:
    """Return whether unpacking a wheel installs it, since it has no programs and no files for elsewhere."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        names = archive.namelist()
        scripts = [archive.read(name) for name in names if name.endswith(".dist-info/entry_points.txt")]
    moved = any(name.partition("/")[0].endswith(".data") for name in names)
    return not moved and not any(b"_scripts]" in text for text in scripts)


def modules_of(wheel: bytes) -> list[str]:
    """Return the names of the top-level packages and modules of a wheel, but for names that no import can have."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist() if name.endswith(".py")}
    # A shell must not find anything but names in them.
    plain = (name for name in tops if name.removesuffix(".py").isidentifier())
    return sorted(plain)
