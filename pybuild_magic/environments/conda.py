"""A conda environment as a Dockerfile: an explicit lock of conda's packages, with pip's requirements on top."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UsageError
from ..untrusted.redaction import split_credentials
from .base import Base
from .configuration import configuration
from .frozen import Frozen
from .index import Indexes
from .installed import Distribution, Environment, conda_prefix
from .kernel_dockerfile import PREFIX, USER, flags
from .lock import complete, lock
from .options import FreezeOptions
from .target import TargetPython

BASE = "mambaorg/micromamba:2"
_TOKEN = re.compile(r"/t/[^/]+(?=/)")
"""The form in which a channel has a token in its URLs."""


class CondaPackage(msgspec.Struct, frozen=True):
    """A package installed by conda, from its record in conda-meta."""

    name: str
    version: str
    url: str
    digest: str
    """`sha256:…`, or only the md5."""
    requested: bool


def packages_of(prefix: Path) -> tuple[CondaPackage, ...]:
    """Return conda's packages in a prefix, by name. Raises UsageError for a record that cannot be read."""
    packages: list[CondaPackage] = []
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        try:
            record: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            url, _ = split_credentials(_TOKEN.sub("", str(record["url"])))
            digest = f"sha256:{record['sha256']}" if record.get("sha256") else str(record["md5"])
            specs = record.get("requested_spec") or record.get("requested_specs")
            packages.append(CondaPackage(str(record["name"]), str(record["version"]), url, digest, bool(specs)))
        except (OSError, KeyError, msgspec.DecodeError) as error:
            raise UsageError(f"conda's record {path.name} cannot be read: {error}.") from None
    return tuple(packages)


def freeze_conda(
    options: FreezeOptions, environment: Environment, notes: tuple[str, ...], target: TargetPython
) -> Frozen:
    """Return a conda environment as a Dockerfile. Raises UsageError where conda has installed nothing."""
    from .kernel_dockerfile import Recipe

    prefix = conda_prefix()
    if prefix is None:
        raise UsageError("This Python does not belong to a conda environment.", hint="Use --pip or --uv.")
    packages = packages_of(prefix)
    settings = configuration()
    by_conda = {package.name for package in packages}
    rest: dict[str, Distribution] = {
        name: distribution
        for name, distribution in environment.items()
        if distribution.installer != "conda" and name not in by_conda
    }
    additions = () if "ipykernel" in by_conda else ("ipykernel",)
    with closing(Indexes(settings)) as indexes:
        above = complete(rest, additions, target, indexes)
        locked = lock(above, target, indexes)
    recipe = Recipe(
        base=Base(image=options.base or BASE, python=""),
        target=target,
        lock=locked,
        requested=(),
        configuration=settings,
        hashes=options.hashes,
    )
    explicit = "".join(["@EXPLICIT\n", *(f"{package.url}#{package.digest}\n" for package in packages)])
    context: dict[str, str | bytes] = {"explicit.txt": explicit}
    if locked.locked:
        context["requirements.txt"] = locked.lines(built=False, hashes=options.hashes)
        context |= {f"wheels/{name}": content for name, content in locked.wheels.items()}
    frozen = Frozen(
        options.name,
        _dockerfile(recipe, packages, options.apt),
        context,
        flags(options, recipe),
        environment,
        notes + locked.notes,
    )
    if options.write:
        frozen.write(options.write)
    return frozen


def _dockerfile(recipe: Any, packages: tuple[CondaPackage, ...], apt: tuple[str, ...]) -> str:
    from .kernel_dockerfile import Recipe

    assert isinstance(recipe, Recipe)
    requested = " ".join(package.name for package in packages if package.requested)
    lines = [
        f"# {len(packages)} packages of conda, by URL and digest. These were asked for:",
        f"#   {requested}",
        f"FROM {recipe.base.image} AS environment",
        "USER root",
        "COPY explicit.txt .",
        "RUN --mount=type=cache,target=/opt/conda/pkgs \\",
        f"    micromamba create --yes --always-copy --prefix {PREFIX} --file explicit.txt",
    ]
    if recipe.lock.locked:
        secrets = "".join(f"--mount={secret.mount} \\\n    " for secret in recipe.configuration.secrets)
        hashes = "--require-hashes " if recipe.hashes else ""
        lines += [f"ENV {name}={value}" for name, value in recipe.configuration.variables.items()]
        lines += [
            "COPY requirements.txt .",
            f"RUN {secrets}{PREFIX}/bin/python -m pip install --no-deps --no-cache-dir {hashes}-r requirements.txt",
        ]
    if recipe.lock.wheels:
        lines.append(
            "RUN --mount=type=bind,source=wheels,target=/wheels \\\n"
            f"    {PREFIX}/bin/python -m pip install --no-deps --no-index /wheels/*.whl"
        )
    lines += ["", "FROM debian:stable-slim"]
    if apt:
        lines.append(
            f"RUN apt-get update && apt-get install -y --no-install-recommends {' '.join(apt)} "
            "&& rm -rf /var/lib/apt/lists/*"
        )
    lines += [
        "ARG SOURCE_DATE_EPOCH",
        f"RUN useradd --create-home --uid 1000 {USER}",
        f"COPY --link --from=environment {PREFIX} {PREFIX}",
        f"ENV PATH={PREFIX}/bin:$PATH CONDA_PREFIX={PREFIX}",
        "USER 1000",
        f"WORKDIR /home/{USER}",
        'CMD ["python3"]',
    ]
    return "\n".join(lines) + "\n"
