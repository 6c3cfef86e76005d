"""Services that some notebooks need: two registries and an engine. Notebooks whose service is missing are skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from tests.services import buildkit, registry
from tests.services.common import ServiceMissingError


@contextmanager
def _registries() -> Iterator[dict[str, str]]:
    with registry.registry() as public, registry.registry("basic") as private:
        yield {"REGISTRY": public.host, "PRIVATE_REGISTRY": private.host}


@contextmanager
def _engine() -> Iterator[dict[str, str]]:
    yield buildkit.engine().env


NEEDS: dict[str, Callable[[], AbstractContextManager[dict[str, str]]]] = {"07-": _registries, "08-": _engine}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the services that the collected notebooks need, and pass their addresses through the environment."""
    stack = ExitStack()
    config.add_cleanup(stack.close)
    for prefix, service in NEEDS.items():
        cells = [item for item in items if item.path.name.startswith(prefix)]
        if not cells:
            continue
        try:
            os.environ.update(stack.enter_context(service()))
        except ServiceMissingError as missing:
            if os.environ.get("CI", "").lower() in {"1", "true"}:
                raise pytest.UsageError(f"CI must have every service: {missing}") from None
            for cell in cells:
                cell.add_marker(pytest.mark.skip(reason=str(missing)))
