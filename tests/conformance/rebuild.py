"""Two builds of what changes between them, by both builders: the vertices of each, their names, order and CACHED."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pybuild_magic.api import run as api
from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.cancel import Cancel
from pybuild_magic.images.load import load_image
from pybuild_magic.request.parse import parse_options
from pybuild_magic.request.solve_request import compile_request
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.store import Store
from tests.services import baseimages, buildkit
from tests.services.common import tool

from .answer import write_whole
from .builders import Reference
from .case import Tar, Tree, change_tree, tar, write_tree
from .pair import LATER, Batch, Pair, State, fill
from .server import serving
from .trace import Trace, Traces, differing, read_trace


class Bench:
    """Both builders, and what both builds of a batch are made of."""

    def __init__(self, root: Path, url: str, pages: dict[str, tuple[bytes, Mapping[str, str]]]) -> None:
        self.reference = Reference(buildkit.engine())
        self._root = root
        self._url = url
        self._pages = pages
        self._answers: dict[str, tuple[Traces, Traces]] = {}
        self._images: set[str] = set()
        (root / "base").mkdir()
        self._store = Store(root / "store")
        self.builder = EmbeddedBuilder(self._store)
        load_image(self._store, baseimages.busybox().path, "busybox:latest")
        self._renew()

    def close(self) -> None:
        """Leave nothing in the engine but its cache."""
        self.builder.close()
        if self._images:
            self.reference.engine.remove(*self._images)

    def _renew(self) -> None:
        """Take a base, and names, that no build has had."""
        self.token = "t" + secrets.token_hex(6)
        self._has_base = False
        (self._root / "base" / "token").write_text(self.token)
        self._embedded_image(self._name("base"), _BASE)
        self._embedded_image(self._name("warm"), _WARM)

    def _name(self, image: str) -> str:
        return f"pybuild-{self.token}-{image}"

    def traces(self, batch: Batch) -> tuple[Traces, Traces]:
        """(BuildKit's, ours) of a batch, each of the first and the second build."""
        found = self._answers.get(batch.digest)
        if found is None:
            kept = self.reference.folder / f"rebuild-{FORM}-{batch.digest}.json"
            known = msgspec.json.decode(kept.read_bytes(), type=Traces) if kept.exists() else None
            found = self._build(batch, known)
            if known is None and _differ(batch, found):
                # The engine is shared, and when others prune a part of its cache in between it forgets more: once more.
                self._renew()
                found = self._build(batch, None)
            if known is None and not _differ(batch, found):
                write_whole(kept, msgspec.json.encode(found[0]))
            self._answers[batch.digest] = found
        return found

    def _build(self, batch: Batch, known: Traces | None) -> tuple[Traces, Traces]:
        """Both builds by both builders; when BuildKit's are `known`, by ours alone."""
        if known is None and not self._has_base:
            self._engine_image(self._name("base"), _BASE)
            self._engine_image(self._name("warm"), _WARM)
            self._has_base = True
        root = self._root / f"{batch.digest[:16]}-{self.token}"
        context = root / f"context-{self.token}-{batch.digest[:8]}"

        def below(pair: Pair, name: str) -> str:
            return name if pair.alone else f"{pair.name}/{name}"

        files = {below(p, name): node for p in batch.pairs for name, node in p.tree.items()}
        write_tree(context, self._own(files))
        write_tree(root / "beside", {f"{p.name}/{k}": node for p in batch.pairs for k, node in p.beside.items()})
        theirs: list[Trace] = []
        ours: list[Trace] = []
        for number in (0, 1):
            states = [(pair.first, pair.second)[number] for pair in batch.pairs]
            if number:
                for pair in batch.pairs:
                    changes = {below(pair, name): node for name, node in pair.changes.items()}
                    change_tree(context, self._own(changes), LATER)
                    change_tree(root / "beside" / pair.name, pair.beside_changes, LATER)
            for pair, state in zip(batch.pairs, states, strict=True):
                for path, (body, headers) in state.pages.items():
                    page = (
                        tar(Tar(self._own(body.tree)))
                        if isinstance(body, Tar)
                        else self._fill(fill(body, pair), root).encode()
                    )
                    self._pages[f"/{self.token}/{pair.name}/{path}"] = page, headers
                if state.commit and (not number or state.commit != pair.first.commit):
                    self._commit(pair.name, state.commit)
                for image, text in state.images.items():
                    if not number or text != pair.first.images.get(image):
                        self._embedded_image(self._name(image), fill(text, pair))
                        if known is None:
                            self._engine_image(self._name(image), fill(text, pair))
            arguments = self._arguments(batch, states, context)
            if known is None:
                theirs.append(self._theirs(arguments))
            ours.append(self._ours(arguments))
        return known or (theirs[0], theirs[1]), (ours[0], ours[1])

    def _arguments(self, batch: Batch, states: Sequence[State], context: Path) -> list[str]:
        """The command line of a build, after its Dockerfile is written."""
        arguments = shlex.split(self._fill(batch.flags(states), context))
        if text := batch.dockerfile(states):
            file = context.parent / "Dockerfile"
            file.write_text(self._fill(text, context))
            arguments += ["--file", str(file)]
        if not any(argument.startswith("--output") for argument in arguments):
            arguments.append("--output=type=cacheonly")
        (source,) = {fill(state.source, pair) for pair, state in zip(batch.pairs, states, strict=True)}
        return [*arguments, self._fill(source, context)]

    def _own(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The tree with its texts filled."""
        return {name: self._fill(node, self._root) if isinstance(node, str) else node for name, node in tree.items()}

    def _fill(self, text: str, context: Path) -> str:
        places = {
            "{base}": self._name("base"),
            "{http}": f"{self._url}/{self.token}",
            "{git}": f"{self._url}/git/{self.token}",
            "{token}": self.token,
            "{context}": str(context),
            "{beside}": str(context.parent / "beside"),
        }
        pattern = re.compile("|".join(map(re.escape, places)))
        filled = pattern.sub(lambda found: places[found[0]], text)
        return re.sub(r"\{image:(\w+)\}", lambda found: self._name(found[1]), filled)

    def _theirs(self, arguments: Sequence[str]) -> Trace:
        command = ["buildx", "build", "--progress=rawjson", "--provenance=false", *arguments]
        done = self.reference.engine.docker(*command, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return self._trace(json.loads(line) for line in done.stderr.splitlines() if line.startswith("{"))

    def _ours(self, arguments: Sequence[str]) -> Trace:
        messages: list[SolveStatus] = []
        environ = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
        options = parse_options(list(arguments), environ=environ)
        session = api.open_session(options, self.builder.driver)
        request = compile_request(options, self.builder.driver, session=session.id)
        self.builder.solve(request, session, messages.append, Cancel())
        return self._trace(json.loads(msgspec.json.encode(message)) for message in messages)

    def _trace(self, messages: Iterable[Mapping[str, Any]]) -> Trace:
        return read_trace(messages, {self.token: "{token}", self._url: "{url}", str(self._root): "{root}"})

    def _engine_image(self, name: str, dockerfile: str) -> None:
        self._images.add(name)
        base = self.reference.engine
        base.buildx_build(self._root / "base", "--load", "--tag", name, dockerfile=self._fill(dockerfile, self._root))

    def _embedded_image(self, name: str, dockerfile: str) -> None:
        text = self._fill(dockerfile, self._root)
        options = parse_options(["--tag", name, str(self._root / "base")], dockerfile=text, environ={})
        session = api.open_session(options, self.builder.driver)
        request = compile_request(options, self.builder.driver, session=session.id)
        self.builder.solve(request, session, lambda _: None, Cancel())

    def _commit(self, name: str, tree: Tree) -> None:
        """Make `tree` the head of `main` of the pair's repository, which begins with it."""
        bare, work = self._root / "git" / self.token / f"{name}.git", self._root / "work" / self.token / name
        bare.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True, exist_ok=True)
        change_tree(work, self._own(tree))
        who = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        where = {"GIT_DIR": str(bare), "GIT_WORK_TREE": str(work)}
        env = {**os.environ, **who, **where, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        commands = [["add", "--all", "."], ["commit", "--quiet", "--allow-empty", "--message", f"{name} {self.token}"]]
        # Every file has one time, so Git would trust its index: a file of the same size, second and inode is not read.
        (bare / "index").unlink(missing_ok=True)
        if not bare.exists():
            commands.insert(0, ["init", "--quiet", "--initial-branch=main"])
        for command in commands:
            subprocess.run([tool("git"), *command], check=True, env=env, cwd=work)


FORM = 2
"""Goes up when kept traces no longer mean the same."""
_BASE = "FROM busybox\nCOPY token /token\n"
_WARM = "FROM {base}\nCOPY token /warm\n"
"""Loads the base, so that whether it is CACHED does not depend on which batch is the first."""


def _differ(batch: Batch, found: tuple[Traces, Traces]) -> bool:
    return any(differing(pair, *found) for pair in batch.pairs if not pair.note)


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Until the end of the block. Raises ServiceMissingError where there is no engine."""
    pages: dict[str, tuple[bytes, Mapping[str, str]]] = {}
    with tempfile.TemporaryDirectory(prefix="pybuild-rebuild-") as scratch:
        root = Path(scratch)
        with serving(("127.0.0.1", 0), root / "git", pages) as url:
            opened = Bench(root, url, pages)
            try:
                yield opened
            finally:
                opened.close()
