"""A process that kills builds at random moments: `python -m tests.integration.killed TEMPLATE ROOT SEED ROUNDS`.

Builds run in forks of it, so that none has to begin with an interpreter and its imports.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pybuild_magic.builders.embedded.builder
import pybuild_magic.builders.embedded.execop
import pybuild_magic.display
import pybuild_magic.exporters.archive
import pybuild_magic.exporters.local  # noqa: F401 - what is imported here is imported once
from pybuild_magic.store import Store
from pybuild_magic.store.fsck import fsck

from .lab import Home, leave_nothing

SALTS = 2
KINDS: dict[str, str] = {
    "run": """FROM busybox AS a
ARG SALT
RUN mkdir /d && for i in $(seq 60); do echo $SALT > /d/$i; done && ln -s d /l && mknod /fifo p && chown 5:6 /d/7
RUN rm -r /d/1 /home && echo $SALT > /x && mkdir -p /usr/n && chmod 700 /usr/n
FROM busybox
COPY --from=a /d /d
COPY --from=a /fifo /x /
RUN --mount=type=cache,target=/cache echo $SALT >> /cache/all && cat /d/7 > /seven
""",
    "copy": """FROM busybox AS a
ARG SALT
COPY . /all
RUN echo $SALT > /s
FROM scratch
COPY --from=a /all /all
COPY --from=a /s /s
COPY --link sub /linked
""",
    "files": """FROM scratch
ARG SALT
COPY <<E /s
$SALT
E
COPY big /
COPY sub /sub
""",
}


def context(path: Path) -> None:
    """Many small files and a big one."""
    (path / "sub").mkdir(parents=True)
    rng = random.Random(3)
    for number in range(250):
        (path / "sub" / f"{number}").write_bytes(rng.randbytes(rng.randrange(3000)))
    (path / "big").write_bytes(rng.randbytes(2_000_000))


def build(home: Home, kind: str, salt: int, directory: Path, *, no_cache: bool = False) -> str:
    """One build with an image in the store, an archive and a directory; the image's ID."""
    fixed = "rewrite-timestamp=true,compression=gzip"
    result = home.build(
        KINDS[kind],
        str(directory / "context"),
        tags=f"{kind}:{salt}",
        build_args={"SALT": str(salt), "SOURCE_DATE_EPOCH": "0"},
        outputs=[
            f"type=image,{fixed}",
            f"type=oci,dest={directory}/{kind}.tar,{fixed}",
            f"type=local,dest={directory}/{kind}",
        ],
        no_cache=no_cache,
    )
    return result.image_id


def fork(action: Callable[[], object]) -> int:
    """A child that does `action` and ends with 0, or with its traceback and 1."""
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def ask(action: Callable[[], str]) -> str:
    """What `action` answers in a child that ends by itself."""
    with tempfile.NamedTemporaryFile() as answer:
        pid = fork(lambda: Path(answer.name).write_text(action()))
        assert os.waitpid(pid, 0)[1] == 0
        return Path(answer.name).read_text()


def main(template: Path, root: Path, seed: int, rounds: int) -> None:
    """Kill `rounds` builds; after each, the store must be in order and the same build right."""
    rng = random.Random(seed)
    context(root / "context")

    def at_home(name: str) -> Home:
        os.environ["PYBUILD_HOME"] = str(root / name)
        return Home(root / name)

    def undisturbed() -> str:
        home = at_home("calm")
        return " ".join(build(home, kind, salt, root) for kind in KINDS for salt in range(SALTS))

    shutil.copytree(template, root / "calm")
    began = time.monotonic()
    ids = dict(zip([(k, s) for k in KINDS for s in range(SALTS)], ask(undisturbed).split(), strict=True))
    once = (time.monotonic() - began) / len(ids)
    assert len(set(ids.values())) == len(ids)

    shutil.copytree(template, root / "home")
    for number in range(rounds):
        kind, salt, no_cache = rng.choice(list(KINDS)), rng.randrange(SALTS), rng.random() < 0.5

        def victim(kind: str = kind, salt: int = salt, no_cache: bool = no_cache) -> None:
            home = at_home("home")
            while True:
                build(home, kind, salt, root, no_cache=no_cache)

        pid = fork(victim)
        time.sleep(rng.uniform(0.0, 3 * once))
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL, (number, kind, salt)
        leave_nothing(root / "home")
        with tarfile.open(root / f"{kind}.tar") as whole:
            assert "index.json" in whole.getnames()
        with Store(root / "home") as store:
            assert fsck(store) == [], (number, kind, salt, fsck(store))
        again = ask(lambda kind=kind, salt=salt: build(at_home("home"), kind, salt, root))
        assert again == ids[kind, salt], (number, kind, salt, no_cache)
    Home(root / "home").check()
    assert not list((root / "home/work").glob("*/*"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
