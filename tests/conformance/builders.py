"""The two builders under comparison: the engine's BuildKit, whose answers are kept, and the embedded one."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shlex
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pybuild_magic.api import run as api
from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.builders.embedded.building import Building
from pybuild_magic.builders.embedded.frontends.result import FrontendResult
from pybuild_magic.cancel import Cancel
from pybuild_magic.dockerfile.lower import LoweredTarget
from pybuild_magic.errors import BuildError
from pybuild_magic.images.load import load_image
from pybuild_magic.request.parse import parse_options
from pybuild_magic.request.solve_request import compile_request
from pybuild_magic.status.messages import StatusSink
from pybuild_magic.store import Store
from tests.dockerfile.provenance import decode, graph
from tests.services import baseimages, cache_dir
from tests.services.buildkit import Engine

from .answer import Answer, has_members, read_answer, write_whole
from .case import Case
from .server import Site

OUTPUT = "type=oci,compression=uncompressed,rewrite-timestamp=true,oci-artifact=false"
PROVENANCE = "--provenance=mode=max,version=v0.2"
FORM = 4
"""Goes up when kept answers no longer mean the same."""


@contextlib.contextmanager
def made(case: Case, site: Site, dockerfile: str = "") -> Iterator[tuple[list[str], Path]]:
    """(the arguments of a build, where the archive goes) of a case, or of another Dockerfile in its place."""
    with tempfile.TemporaryDirectory(prefix="pybuild-case-") as scratch:
        root = Path(scratch)
        context = case.make(root)
        places = {
            "{http}": site.http,
            "{git}": site.git,
            "{commit}": site.commit,
            "{tagged}": site.tagged,
            "{context}": str(context),
            "{beside}": str(root / "beside"),
        }
        pattern = re.compile("|".join(map(re.escape, places)))

        def fill(text: str) -> str:
            return pattern.sub(lambda found: places[found[0]], text)

        (root / "Dockerfile").write_bytes(fill(dockerfile or case.dockerfile).encode("utf-8", "surrogateescape"))
        archive = root / "image.tar"
        flags = shlex.split(fill(case.flags))
        file = [] if {"-f", "--file"} & set(flags) else ["--file", str(root / "Dockerfile")]
        fixed = ["--no-cache", f"--output={OUTPUT},dest={archive}"]
        yield [*fixed, *file, *flags, fill(case.source)], archive


class Reference:
    """A real BuildKit. Its answers are kept by its version and the case's content."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        version = engine.version
        bases = [baseimages.busybox().digest, baseimages.debian_python().digest]
        self.suite = version.suite
        self.version = f"Docker {version.engine}, buildx {version.buildx}, Debian {version.suite}"
        key = f"{FORM} {self.version} {bases}"
        self.folder = cache_dir() / "conformance" / hashlib.sha256(key.encode()).hexdigest()[:16]

    def answer(self, case: Case, site: Site) -> Answer:
        """What BuildKit makes of a case."""
        kept = self.folder / f"{case.digest}.json"
        if kept.exists():
            answer = msgspec.json.decode(kept.read_bytes(), type=Answer)
            if has_members(answer):
                return _with_graphs(answer)
        answer = self._build(case, site)
        write_whole(kept, msgspec.json.encode(answer))
        return _with_graphs(answer)

    def _build(self, case: Case, site: Site) -> Answer:
        with made(case, site, case.instead) as (arguments, archive):
            # Its provenance comes along, which changes nothing of the image.
            command = ["buildx", "build", "--progress=rawjson", PROVENANCE, *arguments]
            env = {"SOURCE_DATE_EPOCH": str(case.epoch)}
            done = self.engine.docker(*command, env=env, check=False)
            if done.returncode == 0:
                answer = read_answer(archive, multi="MULTI_PLATFORM" in case.flags)
                messages = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
                answer.names = {v["digest"]: v["name"] for message in messages for v in message.get("vertexes", ())}
                return answer
            return Answer(error=_message(done.stderr), lines=_lines(done.stderr))


def _with_graphs(answer: Answer) -> Answer:
    for image in answer.images:
        image.graph = graph(decode(image.provenance, answer.names))
    return answer


def _message(log: str) -> str:
    said = re.split(r"^ERROR: ", log, flags=re.MULTILINE)[-1].strip()
    for wrapper in ("failed to build: ", "failed to solve: ", "failed to run Build function: "):
        said = said.removeprefix(wrapper)
    # After the message may come the path of a log file, or a hint.
    return said.partition("\n\n")[0] or log.strip()[-500:]


def _lines(log: str) -> list[int]:
    """The marked lines of the last excerpt of a Dockerfile."""
    excerpt = re.split(r"^[Dd]ockerfile:\d+\n-{20}\n", log, flags=re.MULTILINE)
    if len(excerpt) < 2:
        return []
    lines = excerpt[-1].partition("\n--------------------")[0]
    return [int(number) for number in re.findall(r"^ *(\d+) \| >>> ", lines, flags=re.MULTILINE)]


class RecordingBuilder(EmbeddedBuilder):
    """The embedded builder, whose graphs can be looked at."""

    targets: Sequence[LoweredTarget] = ()

    def _building(self) -> Building:
        return _Recording(self)


class _Recording(Building):
    def __init__(self, builder: RecordingBuilder) -> None:
        super().__init__(builder.store, builder.sandbox, builder.failed)
        self._builder = builder

    def _lower(self, *arguments: Any) -> FrontendResult:
        lowered = super()._lower(*arguments)
        self._builder.targets = lowered.targets
        return lowered


def needs_debian(case: Case) -> bool:
    """Whether a case begins with the larger of the base images."""
    return "debian" in case.dockerfile + case.flags


def build_case(
    builder: EmbeddedBuilder, arguments: Sequence[str], case: Case, status: StatusSink = lambda _: None
) -> None:
    """Build a case with the embedded builder, as it is built with the engine. Raises BuildError."""
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(case.epoch)}
    options = parse_options(list(arguments), environ=environ)
    session = api.open_session(options, builder.driver)
    request = compile_request(options, builder.driver, session=session.id)
    # As the docker driver asks, which has images in the engine's store.
    attrs = {"image-resolve-mode": "local", **request.frontend_attrs}
    builder.solve(msgspec.structs.replace(request, frontend_attrs=attrs), session, status, Cancel())


class Embedded:
    """The embedded builder on a store of its own, with the base images that the engine has; on a rung, or the best."""

    def __init__(self, root: Path, rung: int = 0) -> None:
        self._store = Store(root)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PYBUILD_RUNG", str(rung or ""))
            self._builder = RecordingBuilder(self._store)
        load_image(self._store, baseimages.busybox().path, "busybox:latest")

    def close(self) -> None:
        """End its helper process."""
        self._builder.close()

    @functools.cached_property
    def _debian(self) -> str:
        return load_image(self._store, baseimages.debian_python().path, "debian:latest")

    def builder_for(self, case: Case) -> RecordingBuilder:
        """The builder, with the images that a case begins with."""
        if needs_debian(case):
            assert self._debian
        return self._builder

    def answer(self, case: Case, site: Site) -> Answer:
        """What the embedded builder makes of a case. What is no BuildError is a bug, and shown as a refusal."""
        self.builder_for(case)
        with made(case, site) as (arguments, archive):
            try:
                build_case(self._builder, [PROVENANCE, *arguments], case)
            except BuildError as error:
                where = error.location
                lines = list(range(where.start, where.end + 1)) if where else []
                return Answer(error=error.message, lines=lines)
            except Exception:
                return Answer(error="CRASHED: " + traceback.format_exc(limit=-3))
            answer = read_answer(archive, multi="MULTI_PLATFORM" in case.flags)
            for image, target in zip(answer.images, self._builder.targets, strict=True):
                image.graph = graph(target.edge)
            return answer
