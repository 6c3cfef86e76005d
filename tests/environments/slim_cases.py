"""Dockerfiles with something that an image could do without, and the line that `%build slim` gives for it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

MIB = 1 << 20
SITE = "/srv/env/lib/python3.11/site-packages"
PIP = "pip install --break-system-packages --no-cache-dir"
NOISE = random.Random(14).randbytes(MIB)


def made(*paths: str, size: int = 1) -> str:
    """A command that makes files of so many mebibytes that no compression makes smaller."""
    return " && ".join(
        f"mkdir -p {path.rpartition('/')[0]}/ && dd if=/dev/urandom of={path} bs=1M count={size}" for path in paths
    )


@dataclass(frozen=True)
class Case:
    """A Dockerfile, and the saving that is found in it."""

    what: str
    dockerfile: str
    line: str
    size: int = MIB
    context: dict[str, bytes] = field(default_factory=dict)
    rest: tuple[str, ...] = ()
    """What else is found in it, and still is afterwards."""


def step(command: str, what: str, line: str, size: int = MIB) -> Case:
    """A case of one RUN: `STEP` in its line stands for the command."""
    return Case(what, f"FROM busybox\nRUN {command}\n", line.replace("STEP", command), size)


CASES: dict[str, Case] = {
    "apt-lists": step(made("/var/lib/apt/lists/a"), "lists of apt-get", "RUN STEP && rm -rf /var/lib/apt/lists/*"),
    "apt-cache": step(
        made("/var/cache/apt/archives/a.deb"),
        "cache of apt-get",
        "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked STEP",
    ),
    "debconf": step(
        made("/var/cache/debconf/templates.dat-old"),
        "backups of debconf",
        "RUN STEP && rm -f /var/cache/debconf/*-old",
    ),
    "logs": step(
        made("/var/log/dpkg.log"), "logs of installations", "RUN STEP && find /var/log -type f -exec rm -f {} +"
    ),
    "pip-cache": step(
        made("/root/.cache/pip/http/a"), "cache of pip", "RUN --mount=type=cache,target=/root/.cache/pip STEP"
    ),
    "pip-cache of a user": Case(
        "cache of pip",
        f"FROM busybox\nRUN mkdir -m 777 -p /home/jovyan\nUSER 1000\nRUN {made('/home/jovyan/.cache/pip/a')}\n",
        f"RUN --mount=type=cache,target=/home/jovyan/.cache/pip,uid=1000 {made('/home/jovyan/.cache/pip/a')}",
    ),
    "uv-cache": step(made("/root/.cache/uv/a"), "cache of uv", "RUN --mount=type=cache,target=/root/.cache/uv STEP"),
    "conda-cache": step(
        made("/root/miniconda3/pkgs/a.conda"),
        "packages of conda that are installed already",
        "RUN STEP && rm -rf /root/miniconda3/pkgs",
    ),
    "npm-cache": step(
        made("/root/.npm/_cacache/a", "/root/.cache/yarn/a"),
        "cache of npm and yarn",
        "RUN --mount=type=cache,target=/root/.cache/yarn --mount=type=cache,target=/root/.npm STEP",
        2 * MIB,
    ),
    "other-cache": step(
        made("/root/.cache/pre-commit/a"), "other caches", "RUN STEP && rm -rf /root/.cache/pre-commit/*"
    ),
    "temporary": step(
        made("/tmp/a", "/var/tmp/b", size=2), "temporary files", "RUN STEP && rm -rf /tmp/* /var/tmp/*", 4 * MIB
    ),
    "git": step(made("/srv/app/.git/objects/pack/a"), "history of Git", "RUN STEP && rm -rf /srv/app/.git"),
    "checkpoints": step(
        made("/srv/.ipynb_checkpoints/a.ipynb"),
        "checkpoints of notebooks",
        "RUN STEP && find /srv -xdev -name .ipynb_checkpoints -prune -exec rm -rf {} +",
    ),
    "cuda": step(
        made(f"{SITE}/nvidia/cublas/lib/libcublas.so.12"),
        "CUDA, used by no package",
        f"RUN STEP && rm -rf {SITE}/nvidia",
    ),
    "bytecode": step(
        made(f"{SITE}/a/__pycache__/b.pyc", "/opt/c/__pycache__/d.pyc"),
        "bytecode of Python",
        f"RUN STEP && find /opt/c {SITE}/a -xdev -name __pycache__ -prune -exec rm -rf {{}} +",
        2 * MIB,
    ),
    "tests": step(
        made(f"{SITE}/pandas/tests/io/a.py", f"{SITE}/tornado/test/b.py", "/usr/lib/python3.11/test/c.py"),
        "tests of packages",
        f"RUN STEP && find {SITE}/pandas {SITE}/tornado /usr/lib/python3.11 "
        "-xdev -type d '(' -name test -o -name tests -o -name idle_test ')' -prune -exec rm -rf {} +",
        3 * MIB,
    ),
    "debug": step(
        made("/usr/lib/debug/.build-id/ab/c.debug", "/srv/app/program.debug", "/srv/app/unit.dwo"),
        "debug symbols",
        "RUN STEP && find /srv/app /usr/lib "
        "-xdev '(' -path /usr/lib/debug -o -name '*.dSYM' -o -name '*.debug' -o -name '*.dwo' ')' "
        "-prune -exec rm -rf {} +",
        3 * MIB,
    ),
    "static": step(
        made("/usr/local/lib/liba.a", "/usr/local/lib/b.la"),
        "static libraries",
        "RUN STEP && find /usr/local/lib -xdev '(' -name '*.a' -o -name '*.la' ')' -exec rm -f {} +",
        2 * MIB,
    ),
    "compilers": step(
        made("/usr/include/a.h", "/usr/lib/gcc/x/cc1", f"{SITE}/result/r.bin"),
        "compilers and headers",
        "COPY --from=build /srv/env /srv/env",
        2 * MIB,
    ),
    "documentation": step(
        made("/usr/share/doc/a/README", "/usr/local/share/man/man1/b.1"),
        "documentation",
        "RUN STEP && rm -rf /usr/local/share/man /usr/share/doc",
        2 * MIB,
    ),
    "translations": step(
        made("/usr/share/locale/de/LC_MESSAGES/a.mo", f"{SITE}/app/locale/fr/LC_MESSAGES/b.mo"),
        "translations",
        f"RUN STEP && find {SITE}/app /usr/share "
        "-xdev '(' -path '*/share/locale' -o -path '*/i18n/locales' -o -name LC_MESSAGES ')' "
        "-prune -exec rm -rf {} +",
        2 * MIB,
    ),
    "source-maps": step(
        made(f"{SITE}/app/static/a.js.map"),
        "source maps of web pages",
        f"RUN STEP && find {SITE}/app/static -xdev '(' -name '*.js.map' -o -name '*.css.map' ')' -exec rm -f {{}} +",
    ),
    "a context's files": Case(
        "history of Git",
        "FROM busybox\nCOPY . /srv/app\n",
        ".dockerignore: **/.git",
        context={".git/objects/pack/a": NOISE, "app.py": b""},
    ),
    "a context's documentation": Case(
        "documentation",
        "FROM busybox\nCOPY rootfs /\n",
        ".dockerignore: **/share/doc, **/share/man",
        2 * MIB,
        context={"rootfs/usr/share/doc/a": NOISE, "rootfs/usr/share/man/b": NOISE[::-1], "rootfs/etc/c": b""},
    ),
    "a stage's files": Case(
        "bytecode of Python",
        f"FROM busybox AS made\nRUN {made('/out/lib/__pycache__/a.pyc', '/out/lib/a.bin')}\n"
        "FROM busybox\nCOPY --from=made /out /opt/env\n",
        "At the end of the stage made: RUN find /out/lib -xdev -name __pycache__ -prune -exec rm -rf {} +",
    ),
    "files that a RUN makes and another removes": Case(
        "files that a later step removes",
        f"FROM busybox\nRUN {made('/scratch', '/kept')}\nRUN rm /scratch\n",
        f"RUN {made('/scratch', '/kept')} && rm /scratch",
    ),
    "an archive that is copied, unpacked and removed": Case(
        "files that a later step removes",
        "FROM busybox\nCOPY data.bin /tmp/data.bin\nRUN cp /tmp/data.bin /data && rm /tmp/data.bin\n",
        "RUN --mount=type=bind,source=data.bin,target=/tmp/data.bin cp /tmp/data.bin /data",
        context={"data.bin": NOISE},
    ),
    "a file of a context that a RUN removes": Case(
        "files that a later step removes",
        "FROM busybox\nCOPY . /srv/app\nRUN rm -r /srv/app/data\n",
        ".dockerignore: data",
        context={"data/a.bin": NOISE, "app.py": b"", "data/b": b""},
    ),
    "steps of several commands": Case(
        "files that a later step removes",
        f"FROM busybox\nRUN mkdir /srv && cd /srv && {made('a')}\nRUN rm -f /srv/a; touch first || true; touch b\n",
        f"RUN (mkdir /srv && cd /srv && {made('a')}) && {{ rm -f /srv/a; touch first || true; touch b; }}",
    ),
    "files that are written again": Case(
        "files that a later step writes again",
        f"FROM busybox\nRUN {made('/data')}\nRUN dd if=/dev/urandom of=/data bs=1M count=1\n",
        f"RUN {made('/data')} && dd if=/dev/urandom of=/data bs=1M count=1",
    ),
    "another owner of what is copied": Case(
        "files whose owner or mode a later step changes",
        "FROM busybox\nRUN mkdir /srv\nCOPY data /srv/data\nRUN chown -R 1000:100 /srv/data\n",
        "COPY --chown=1000:100 data /srv/data",
        context={"data/a": NOISE},
    ),
    "another mode of what is copied": Case(
        "files whose owner or mode a later step changes",
        "FROM busybox\nRUN mkdir /srv\nCOPY data/a /srv/a\nRUN chmod 750 /srv/a\n",
        "COPY --chmod=750 data/a /srv/a",
        context={"data/a": NOISE},
    ),
    "another mode of some of what is copied": Case(
        "files whose owner or mode a later step changes",
        "FROM busybox\nCOPY data /srv/data\nRUN chmod 750 /srv/data/a\n",
        "In a stage named build: COPY data /srv/data and RUN chmod 750 /srv/data/a; "
        "then COPY --from=build /srv/data /srv/data",
        context={"data/a": NOISE, "data/b": b""},
    ),
    "another owner without the directory": Case(
        "files whose owner or mode a later step changes",
        "FROM busybox\nCOPY data /srv/data\nRUN chown -R 1000:100 /srv/data\n",
        "In a stage named build: COPY data /srv/data and RUN chown -R 1000:100 /srv/data; "
        "then COPY --from=build /srv/data /srv/data and RUN chown 1000:100 /srv/data",
        context={"data/a": NOISE},
    ),
    "a step with flags": Case(
        "temporary files",
        f"FROM busybox\nRUN --mount=type=tmpfs,target=/mnt --network=none {made('/tmp/a', '/mnt/b')}\n",
        f"RUN --mount=type=tmpfs,target=/mnt --network=none {made('/tmp/a', '/mnt/b')} && rm -rf /tmp/*",
    ),
    "a step with flags and a cache": Case(
        "cache of pip",
        f"FROM busybox\nRUN --mount=type=tmpfs,target=/mnt {made('/root/.cache/pip/a', '/mnt/b')}\n",
        "RUN --mount=type=tmpfs,target=/mnt --mount=type=cache,target=/root/.cache/pip "
        f"{made('/root/.cache/pip/a', '/mnt/b')}",
    ),
    "two steps with the same flags": Case(
        "files that a later step removes",
        f"FROM busybox\nRUN --network=none {made('/scratch')}\nLABEL a=b\nRUN --network=none rm /scratch\n",
        f"RUN --network=none {made('/scratch')} && rm /scratch",
    ),
    "a copy whose reader has flags": Case(
        "files that a later step removes",
        "FROM busybox\nCOPY data.bin /tmp/data.bin\n"
        "RUN --mount=type=tmpfs,target=/mnt cp /tmp/data.bin /data && rm /tmp/data.bin\n",
        "RUN --mount=type=tmpfs,target=/mnt --mount=type=bind,source=data.bin,target=/tmp/data.bin "
        "cp /tmp/data.bin /data",
        context={"data.bin": NOISE},
    ),
    "the exec form": Case(
        "temporary files",
        'FROM busybox\nRUN ["dd", "if=/dev/urandom", "of=/tmp/a b", "bs=1M", "count=1"]\n',
        "RUN dd if=/dev/urandom 'of=/tmp/a b' bs=1M count=1 && rm -rf /tmp/*",
    ),
    "the exec form with a cache": Case(
        "cache of pip",
        "FROM busybox\nRUN mkdir -p /root/.cache/pip\n"
        'RUN ["dd", "if=/dev/urandom", "of=/root/.cache/pip/a", "bs=1M", "count=1"]\n',
        "RUN --mount=type=cache,target=/root/.cache/pip "
        '["dd", "if=/dev/urandom", "of=/root/.cache/pip/a", "bs=1M", "count=1"]',
    ),
    "a here-document": Case(
        "temporary files",
        f"FROM busybox\nRUN <<EOF\ncd /srv || mkdir /srv\n{made('/tmp/a')}\nEOF\n",
        f"RUN <<EOF\ncd /srv || mkdir /srv\n{made('/tmp/a')} && rm -rf /tmp/*\nEOF",
    ),
    "a here-document that a command reads": Case(
        "temporary files",
        f"FROM busybox\nRUN sh -e <<-'END'\n\tmkdir /srv\n\t{made('/tmp/a')}\n\tEND\n",
        f"RUN sh -e <<-'END' && rm -rf /tmp/*\n\tmkdir /srv\n\t{made('/tmp/a')}\nEND",
    ),
    "lists that the next step needs": Case(
        "lists of apt-get",
        "FROM busybox\nCOPY --chmod=755 apt-get /bin/\nRUN apt-get update\nRUN apt-get install file\n",
        "RUN apt-get update && apt-get install file && rm -rf /var/lib/apt/lists/*",
        context={
            "apt-get": b"#!/bin/sh\ncase $1 in\ninstall) exec head -c 9 /var/lib/apt/lists/a;;\nesac\n"
            + made("/var/lib/apt/lists/a").encode()
        },
    ),
    "temporary files that the next step needs": Case(
        "temporary files",
        f"FROM busybox\nRUN {made('/tmp/a')}\nRUN head -c 9 /tmp/a > /kept\n",
        f"RUN {made('/tmp/a')} && head -c 9 /tmp/a > /kept && rm -rf /tmp/*",
    ),
    "an image's files": Case(
        "documentation",
        "FROM busybox\nCOPY --from=documented /usr/share /usr/share\n",
        "In a stage FROM documented, to copy from instead: RUN rm -rf /usr/share/doc",
    ),
    "another owner of what is made": Case(
        "files whose owner or mode a later step changes",
        f"FROM busybox\nRUN {made('/srv/data')}\nRUN chown 1000 /srv/data\n",
        f"RUN {made('/srv/data')} && chown 1000 /srv/data",
    ),
    "a file twice in a layer": step(
        f"{made('/srv/a')} && cp /srv/a /srv/copy", "duplicate files", "RUN STEP && ln -f /srv/a /srv/copy"
    ),
    "a file twice in two layers": Case(
        "duplicate files",
        f"FROM busybox\nRUN {made('/srv/a')}\nRUN cp /srv/a /srv/copy\n",
        "RUN cp /srv/a /srv/copy && ln -sf /srv/a /srv/copy",
    ),
    "a file copied twice": Case(
        "duplicate files",
        "FROM busybox\nCOPY a /srv/a\nCOPY b /srv/b\n",
        "RUN ln -s /srv/a/model.bin /srv/b/model.bin",
        context={"a/model.bin": NOISE, "b/model.bin": NOISE, "b/app.py": b""},
    ),
}
