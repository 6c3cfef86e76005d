"""The threads of a build, to which its event loop gives all slow work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from ...cancel import Cancel
from ...status.report import VertexReport
from ...store.locks import lock_file, remove_locked

T = TypeVar("T")

_POLL = 0.01
"""Seconds between two attempts to take a lock that another build holds."""


class Workers:
    """A pool of threads whose jobs end on `stop`, and the steps that are running in it."""

    def __init__(self, stop: Cancel) -> None:
        self._stop = stop
        self._steps: dict[int, VertexReport] = {}
        self._pool = ThreadPoolExecutor(min(32, 4 + 4 * (os.cpu_count() or 1)), "pybuild-solve", stop.bind)

    @property
    def steps(self) -> list[str]:
        """The names of the running steps; after an error, of those that were running."""
        return [report.name for report in self._steps.values()]

    async def call(self, function: Callable[[], T]) -> T:
        """Run `function` in a thread, and return its result."""
        self._stop.check()
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def step(self, report: VertexReport, function: Callable[[], T]) -> T:
        """Run `function` in a thread, with the step of `report` shown as running, and return its result."""

        def work() -> T:
            self._stop.check()
            self._steps[id(report)] = report
            with report, report.bound():
                value = function()
            del self._steps[id(report)]
            return value

        return await self.call(work)

    @asynccontextmanager
    async def locked(self, path: Path) -> AsyncGenerator[None]:
        """Hold the lock file at `path`, after waiting for other builds in any process."""
        while (fd := lock_file(path)) is None:
            self._stop.check()
            await asyncio.sleep(_POLL)
        try:
            yield
        finally:
            remove_locked(path, fd)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()


async def gather(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """Return the results of jobs that are waited for together."""

    async def wait(job: Awaitable[T]) -> T:  # a task may belong to the event loop of an earlier solve
        return await job

    return list(await asyncio.gather(*map(wait, jobs)))
