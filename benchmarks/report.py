"""results.json and its chart: the rows of several runs, each with the day, commit and load of its measurement."""

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
"""The field of a row with the day, the commit and the load of its measurement."""


def circumstances() -> dict[str, Any]:
    """Return the circumstances of a measurement that begins now; `load` is that of other work on the machine."""
    return {"date": time.strftime("%Y-%m-%d"), "commit": _commit(), "load": round(os.getloadavg()[0], 2)}


def described(row: Row) -> str:
    """Return the circumstances of a row in words: `2026-11-27, 18fbccc, load 0.31`."""
    at = row.get(MEASURED, {})
    load = f"load {at['load']:.2f}" if "load" in at else ""
    return ", ".join(part for part in (at.get("date"), at.get("commit"), load) if part)


def write(out: Path, machine: dict[str, Any], measured: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Write results.json and the chart, and return all rows by kind.

    Rows that this run has not measured stay from earlier runs, with their circumstances.
    """
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.json"
    earlier: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    whole = {key: earlier[key] for key in ("date", "load") if key in earlier}  # older files have one for all rows
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
    """Return the measured commit, marked if files differ from it; "" outside of a repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
