"""A measured figure other than a scenario's ratio to BuildKit, with its target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured number; `target` is the most that it may be, or None. What was not measured misses its target."""

    name: str
    title: str
    value: float | None
    """None where it could not be measured; the note says why."""
    unit: str
    """The text after the number; "" for a ratio."""
    target: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether the number is above its target, or missing."""
        return self.target is not None and (self.value is None or self.value > self.target)

    def show(self) -> None:
        """Print the row of the figure."""
        target = "" if self.target is None else f"≤ {self.target:g}"
        value = "none" if self.value is None else f"{self.value:.3f}"
        print(f"{self.title:50}{value:>9}{self.unit:<9}{target:>8}  {self.note}".rstrip(), flush=True)
