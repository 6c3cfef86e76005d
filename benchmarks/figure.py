"""One figure of what is no race with BuildKit over a scenario, with what it is held to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured number; `target` is the most that it may be, None where nothing is set."""

    name: str
    title: str
    value: float
    unit: str
    """What stands behind the number; "" for a ratio."""
    target: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether it is more than it may be."""
        return self.target is not None and self.value > self.target

    def show(self) -> None:
        """Print its row."""
        target = "" if self.target is None else f"≤ {self.target:g}"
        print(f"{self.title:50}{self.value:>9.3f}{self.unit:<9}{target:>8}  {self.note}".rstrip(), flush=True)
