"""results.json and its chart: rows of several runs, each with the day, commit and load of its own measurement."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from .chart import draw
from .peers import Client, Kernel

Row = dict[str, Any]
MEASURED = "measured"
"""The field of a row that tells when, at which commit and under which load it was measured."""


def circumstances() -> dict[str, Any]:
    """Return the circumstances of a measurement that begins now; `load` is what the machine does besides."""
    return {"date": time.strftime("%Y-%m-%d"), "commit": _commit(), "load": round(os.getloadavg()[0], 2)}


def described(row: Row) -> str:
    """Return the circumstances of a row in words: `2026-11-27, 18fbccc, load 0.31`."""
    at = row.get(MEASURED, {})
    load = f"load {at['load']:.2f}" if "load" in at else ""
    return ", ".join(part for part in (at.get("date"), at.get("commit"), load) if part)


def write(out: Path, machine: dict[str, Any], measured: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Write results.json and the chart, and return all rows by kind.

    Rows of an earlier run stay, with their own circumstances, where this one has not measured anew.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.json"
    earlier: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    whole = {key: earlier[key] for key in ("date", "load") if key in earlier}  # of a file that had them once for all
    kinds: dict[str, list[Row]] = {}
    for kind, rows in measured.items():
        kept = [{MEASURED: whole, **row} for row in earlier.get(kind, [])]
        kinds[kind] = list({row["name"]: row for row in [*kept, *rows]}.values())
    file.write_text(json.dumps(machine | kinds, indent=2) + "\n")
    charted = [row for row in kinds.get("scenarios", []) if row["who"] in (Kernel.name, Client.name)]
    if charted:
        notes = [described(row) for row in charted]
        draw(charted, out / "results.svg", notes)
    return kinds


def _commit() -> str:
    """Return the commit that is measured, with a mark where files differ from it; "" outside of a repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
