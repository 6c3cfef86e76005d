"""The chart of a benchmark run: the time of ours as a share of BuildKit's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .peers import Kernel


def draw(rows: list[dict[str, Any]], path: Path, notes: list[str]) -> None:
    """Write an SVG with a bar for each scenario: the ratio of the medians, where 1.0 is BuildKit's own time.

    `notes` say how each row was measured. If all are the same, the note is below the chart, and else beside each bar.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pybuild", "font.family": "sans-serif"})
    from matplotlib import pyplot

    pyplot_any: Any = pyplot
    figure, axes = pyplot_any.subplots(figsize=(8, 0.36 * len(rows) + 1.2))
    places = range(len(rows))
    colors = ["#2f6fde" if row["who"] == Kernel.name else "#9bbcf2" for row in rows]
    axes.barh(places, [row["ratio"] for row in rows], color=colors, height=0.6)
    for place, row in zip(places, rows, strict=True):
        right = max(row["ratio"], row["target"] or 0) + 0.015
        note = f"  ({notes[place]})" if len(set(notes)) > 1 and notes[place] else ""
        axes.text(right, place, f"{row['ours']:.2f} s of {row['buildkit']:.2f} s{note}", va="center", size=8)
        if row["target"]:
            axes.plot([row["target"]] * 2, [place - 0.4, place + 0.4], color="#d1242f")
    axes.axvline(1.0, color="#59636e", linestyle=":")
    axes.set_yticks(places, [row["title"] for row in rows], size=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    measured = f"; measured {notes[0]}" if len(set(notes)) == 1 and notes[0] else ""
    axes.set_xlabel(f"our time / BuildKit's time (red: what ours is held to){measured}")
    axes.set_xlim(0, max(1.15, max(row["ratio"] for row in rows) * 1.25))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
