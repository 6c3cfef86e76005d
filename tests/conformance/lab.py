"""One process's two builders and its HTTP server, and the comparison of one case by them."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing.util
import pkgutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.services import buildkit
from tests.services.buildkit import Engine

from . import cases, exchange
from .builders import Embedded, Reference
from .case import CASES, Case
from .compare import Verdict, compare
from .rungs import RUNGS, STORES, has_run
from .server import Site, site


@dataclass(frozen=True)
class Lab:
    """Everything that a comparison needs."""

    reference: Reference
    embedded: Embedded
    site: Site
    scratch: Path
    newcomer: Embedded
    """The embedded builder on a store that is to forget what it builds."""
    lower: dict[int, Embedded] = field(default_factory=dict[int, Embedded])
    """By rung: the embedded builder on it, once it is needed."""

    def check(self, case: Case) -> Verdict:
        """Build a case twice and compare."""
        return compare(case, self.reference.answer(case, self.site), self.embedded.answer(case, self.site))

    def check_on(self, case: Case, rung: int) -> Verdict:
        """Build a case on a lower rung and compare."""
        if rung not in self.lower:
            self.lower[rung] = Embedded(self.scratch / STORES[rung], rung)
        return compare(case, self.reference.answer(case, self.site), self.lower[rung].answer(case, self.site))

    def close(self) -> None:
        """End all builders."""
        for embedded in (self.embedded, self.newcomer, *self.lower.values()):
            embedded.close()


def load_cases() -> dict[str, Case]:
    """All cases, by name."""
    for module in pkgutil.iter_modules(cases.__path__):
        importlib.import_module(f"{cases.__name__}.{module.name}")
    return CASES


@contextlib.contextmanager
def lab() -> Iterator[Lab]:
    """Until the end of the block. Raises ServiceMissingError where there is no engine."""
    load_cases()
    reference = Reference(buildkit.engine())
    with tempfile.TemporaryDirectory(prefix="pybuild-conformance-") as scratch, site() as served:
        stores = Embedded(Path(scratch, "store")), Embedded(Path(scratch, "new"))
        opened = Lab(reference, stores[0], served, Path(scratch), stores[1])
        try:
            yield opened
        finally:
            opened.close()


_worker: Lab | None = None


def open_worker() -> None:
    """Begin a process of a pool."""
    global _worker
    stack = contextlib.ExitStack()
    _worker = stack.enter_context(lab())
    multiprocessing.util.Finalize(None, stack.close, exitpriority=100)


def work(name: str) -> tuple[str, Verdict, dict[int, Verdict], float]:
    """(the case's name, what the comparison found, and on lower rungs, seconds), in a process of a pool."""
    assert _worker
    started = time.monotonic()
    case = CASES[name]
    verdict = _worker.check(case)
    lower = {rung: _worker.check_on(case, rung) for rung in RUNGS} if has_run(case) else {}
    return name, verdict, lower, time.monotonic() - started


def carry(engine: Engine, name: str) -> tuple[str, list[str], list[str]]:
    """(the case's name, steps that a cache of BuildKit's lacks for us, and one of ours for it), in such a process."""
    assert _worker
    case = CASES[name]
    lacking = exchange.from_buildkit(_worker.reference, _worker.newcomer, case, _worker.site)
    embedded = _worker.embedded.builder_for(case)
    return name, lacking, exchange.to_buildkit(engine, _worker.reference, embedded, case, _worker.site)
