"""Recursion over trees of any depth: a walk yields the walk of a subdirectory instead of calling itself."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

Walk = Generator[T | Generator[Any, None, None], None, None]
"""Yields items, and nested walks whose items take their place."""


def flat(walk: Walk[T]) -> Iterator[T]:
    """Yield the items of a walk and of its nested walks, in order."""
    stack: list[Walk[T]] = [walk]
    while stack:
        for item in stack[-1]:
            if isinstance(item, Generator):
                stack.append(item)  # pyright: ignore[reportUnknownArgumentType]
                break
            yield item
        else:
            stack.pop()


def run(walk: Generator[Any, None, None] | None) -> None:
    """Run a walk that yields no items."""
    if walk is not None:
        for _ in flat(walk):
            pass
