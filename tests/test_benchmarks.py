"""The report of a benchmark that is run in parts: each row keeps the circumstances of its own measurement."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.__main__ import _noted
from benchmarks.environments import own
from benchmarks.figure import Figure
from benchmarks.peers import Kernel
from pybuild_magic.environments.kernel_dockerfile import PREFIX
from tests.services import baseimages, buildkit, require


def row(name: str, seconds: float) -> dict[str, Any]:
    return {"name": name, "title": name, "who": Kernel.name, "ours": seconds, "buildkit": 1.0, "ratio": seconds,
            "target": None}  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Set the circumstances of the next measurements."""
    now: dict[str, Any] = {"date": "2026-11-01", "commit": "aaaaaaa", "load": 0.25}
    monkeypatch.setattr("benchmarks.__main__.circumstances", lambda: dict(now))
    return now


def test_rows_of_an_earlier_run_keep_their_circumstances(tmp_path: Path, clock: dict[str, Any]) -> None:
    machine = {"cpus": 2}
    first = {"scenarios": list(_noted(lambda: [row("cold", 0.2), row("cached", 0.1)])), "page": [], "figures": []}
    report.write(tmp_path, machine, first)
    assert "measured 2026-11-01, aaaaaaa, load 0.25" in (tmp_path / "results.svg").read_text()
    clock.update(date="2026-11-09", commit="bbbbbbb", load=3.5)
    second = {"scenarios": list(_noted(lambda: [row("cached", 0.3)])), "page": [], "figures": []}
    report.write(tmp_path, machine, second)
    rows = {each["name"]: each for each in json.loads((tmp_path / "results.json").read_text())["scenarios"]}
    assert rows["cold"]["measured"] == {"date": "2026-11-01", "commit": "aaaaaaa", "load": 0.25}
    assert rows["cached"]["measured"] == {"date": "2026-11-09", "commit": "bbbbbbb", "load": 3.5}
    assert rows["cached"]["ours"] == 0.3
    chart = (tmp_path / "results.svg").read_text()
    assert "(2026-11-01, aaaaaaa, load 0.25)" in chart and "(2026-11-09, bbbbbbb, load 3.50)" in chart


def test_a_file_that_had_one_date_for_all_gives_it_to_its_rows(tmp_path: Path) -> None:
    old = {"date": "2026-10-01", "load": 0.5, "scenarios": [row("cold", 0.2)]}
    (tmp_path / "results.json").write_text(json.dumps(old))
    whole = report.write(tmp_path, {}, {"scenarios": []})
    assert report.described(whole["scenarios"][0]) == "2026-10-01, load 0.50"
    assert "date" not in json.loads((tmp_path / "results.json").read_text())


def test_figures_have_their_circumstances_too(clock: dict[str, Any]) -> None:
    (figure,) = _noted(lambda: [Figure("memory", "Memory", 1.0, "MiB", None)])
    assert figure["name"] == "memory" and figure["measured"] == clock


def test_what_could_not_be_measured_misses_its_target() -> None:
    assert Figure("rung", "A rung", None, "", 1.3, "did not run").missed
    assert Figure("rung", "A rung", 1.4, "", 1.3).missed
    assert not Figure("rung", "A rung", 1.2, "", 1.3).missed
    assert not Figure("proot", "proot", None, "").missed


def test_the_commit_is_that_of_the_repository() -> None:
    now = report.circumstances()
    assert set(now) == {"date", "commit", "load"} and now["load"] >= 0


def test_peers_of_one_engine_share_no_step_and_no_download() -> None:
    engine = require(buildkit.engine)
    engine.load_base(require(baseimages.busybox))
    cache = "--mount=type=cache,target=/root/.cache/pip"
    dockerfile = (
        "FROM busybox AS base\nUSER root\n\nFROM base AS environment\n"
        f"RUN {cache} mkdir -p {PREFIX} && ls /root/.cache/pip > {PREFIX}/list && touch /root/.cache/pip/a\n\n"
        f"FROM base\nCOPY --link --from=environment {PREFIX} {PREFIX}\nRUN cat {PREFIX}/list > /list\n"
    )
    first, second = os.urandom(6).hex(), os.urandom(6).hex()
    ran = [cached_steps(engine, own(dockerfile, token)) for token in (first, first, second)]
    assert not ran[0] and not ran[2]
    assert f"type=cache,id={second},target=/root/.cache/pip " in own(dockerfile, second)
    assert len(ran[1]) >= 4, "what is repeated is cached"


def cached_steps(engine: buildkit.Engine, dockerfile: str) -> set[str]:
    """Build on the engine, and return the RUN and COPY that were in its cache."""
    command = [str(engine.client), "buildx", "build", "--progress=rawjson", "--output=type=cacheonly", "-"]
    done = subprocess.run(command, env=engine.environ(), input=dockerfile.encode(), capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")]
    steps = [vertex for line in lines for vertex in line.get("vertexes") or ()]
    return {step["name"] for step in steps if step.get("cached") and re.search(r"RUN|COPY", step["name"])}
