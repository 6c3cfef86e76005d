"""Recursion over trees of any depth: a walk yields the walk of a directory where a function would call itself."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

Walk = Generator[T | Generator[Any, None, None], None, None]
"""Yields items, and further walks in whose place their items come."""


def flat(walk: Walk[T]) -> Iterator[T]:
    """Yield the items of a walk and of those in it, in their order."""
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
    """Do what a walk does that has no items."""
    if walk is not None:
        for _ in flat(walk):
            pass
