"""macOS and Windows do all that needs no RUN: the same as Linux, with what they lack taken away."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.exporters.directory import _others
from pybuild_magic.portable import split_words

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="takes away what Linux has")
ELSEWHERE = ("darwin", "win32")
SHARED = ("broken", "build", "export", "read", "command", "again", "sent", "started", "helper")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came out of the scenario, by platform."""
    root = Path(__file__).parents[2]

    homes = {platform: tmp_path_factory.mktemp(platform) for platform in ("linux", *ELSEWHERE)}

    def run(platform: str) -> dict[str, Any]:
        command = [sys.executable, "-X", "warn_default_encoding", "-m", "tests.portability.scenario"]
        done = subprocess.run(
            [*command, platform, str(homes[platform])], cwd=root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(homes, pool.map(run, homes), strict=True))


@pytest.mark.parametrize("platform", ELSEWHERE)
@pytest.mark.parametrize("what", SHARED)
def test_all_is_as_on_linux(found: dict[str, dict[str, Any]], platform: str, what: str) -> None:
    assert found[platform]["platform"] == platform
    assert found[platform][what] == found["linux"][what]


@pytest.mark.parametrize("platform", ["linux", *ELSEWHERE])
def test_every_module_is_imported_and_no_process_started(found: dict[str, dict[str, Any]], platform: str) -> None:
    assert found[platform]["broken"] == {}
    assert found[platform]["helper"] == []
    assert found[platform]["started"] == []


@pytest.mark.parametrize("platform", ["linux", *ELSEWHERE])
def test_the_scenario_does_what_it_is_for(found: dict[str, dict[str, Any]], platform: str) -> None:
    answer = found[platform]
    assert answer["build"]["directory"] == answer["build"]["without cache"] == answer["again"]
    assert answer["export"]["local new"] == answer["export"]["local again"] == answer["export"]["local deleted"]
    assert answer["export"]["local new"]["all/link"] == "link to sub/b.bin"
    assert answer["export"]["layout new"] == answer["export"]["layout again"]
    assert answer["export"]["time"] == [1_700_000_000.0] * 2
    assert answer["export"]["kept"]
    assert "sound" in answer["command"]["sound"]
    assert "sound" in answer["command"]["sound after"]


@pytest.mark.parametrize("platform", ELSEWHERE)
def test_a_run_says_where_it_can_be_built(found: dict[str, dict[str, Any]], platform: str) -> None:
    for kind, message, hint in found[platform]["run"]:
        assert kind == "UnsupportedError"
        assert "RUN needs Linux" in message
        assert "--builder" in hint
    assert found[platform]["left"] == []


@pytest.mark.parametrize("platform", ["linux", *ELSEWHERE])
def test_no_path_leaves_its_root(found: dict[str, dict[str, Any]], platform: str) -> None:
    hostile = found[platform]["hostile"]
    assert hostile["read"] == {**found["linux"]["hostile"]["read"], "mode of file": hostile["read"]["mode of file"]}
    assert "secret" not in hostile["read"].values()
    assert hostile["read"]["file"] == "file"
    assert hostile["write"]["outside"] == found["linux"]["hostile"]["write"]["outside"]
    assert hostile["write"]["own link"] == hostile["write"]["dots"] == "ExportError"
    assert hostile["write"]["through a link"] == hostile["write"]["over a link"] == "written"
    assert hostile["layout"] == "SourceError"


def test_names_that_mean_something_else_to_windows_are_refused(found: dict[str, dict[str, Any]]) -> None:
    for platform, answer in (("linux", "written"), ("darwin", "written"), ("win32", "ExportError")):
        write = found[platform]["hostile"]["write"]
        assert {write[name] for name in ("backslash", "drive", "device", "respelled")} == {answer}


def test_a_context_on_windows_has_the_modes_that_buildkits_client_sends(found: dict[str, dict[str, Any]]) -> None:
    modes = {platform: answer["hostile"]["read"]["mode of file"] for platform, answer in found.items()}
    assert modes == {"linux": "0o100644", "darwin": "0o100644", "win32": "0o100755"}


def test_what_a_file_system_spells_its_way_is_not_deleted() -> None:
    assert _others(["Readme", "old"], {"README"}) == {"old"}
    assert _others(["cafe\u0301"], {"caf\u00e9"}) == set()
    assert _others(["readme", "Readme"], {"readme"}) == {"Readme"}


def test_a_backslash_is_an_escape_only_where_it_separates_no_directories() -> None:
    line = r"""-f a\ b 'c d' "e\"f" C:\x\y"""
    assert split_words(line, "/") == ["-f", "a b", "c d", 'e"f', "C:xy"]
    assert split_words(r"""-f C:\x\Dockerfile 'D:\a b'""", "\\") == ["-f", r"C:\x\Dockerfile", r"D:\a b"]
