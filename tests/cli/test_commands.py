"""What the command does without a terminal: its help, its exit codes, and what it prints where."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pybuild_magic.cli.commands import table
from pybuild_magic.store import Store

from .conftest import COMMAND, Pybuild
from .pseudo import Terminal

GOOD = b"FROM busybox\nRUN echo out && echo made > /made\n"
WARNED = b"FROM busybox\nMAINTAINER me\n"
BAD = b"FROM busybox\nRUN echo lost > /left; exit 9\n"


def test_an_archive_goes_to_standard_output(pybuild: Pybuild, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /it\n")
    for output, name in (("-", "it"), ("type=oci,dest=-", "index.json")):
        with tarfile.open(
            fileobj=io.BytesIO(pybuild("build", "-o", output, "--progress=quiet", ".").stdout)
        ) as archive:
            assert name in archive.getnames()


def test_help_has_every_command_and_flag(pybuild: Pybuild) -> None:
    shown = pybuild("--help").stdout.decode()
    for name, command in table().items():
        assert f"\n  {name} " in shown
        assert command.doc
    about_run = pybuild("run", "--help").stdout.decode()
    assert all((f" --{flag.name} " in about_run) is not bool(flag.refused) for flag in table()["run"].syntax.flags)
    assert "%build" not in shown + about_run + pybuild("prune", "--help").stdout.decode()
    assert pybuild("run", "busybox", "echo", "--help").stdout == b"--help\n"


def test_nothing_of_ipython_is_imported(environ: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('IPython', 'ipywidgets', 'anywidget', 'traitlets'): sys.modules[name] = None\n"
        "from pybuild_magic.cli import main\n"
        "sys.exit(max(main(words) for words in (['--help'], ['build', '-f', '-', '-t', 'own', '.'], ['images'],"
        " ['inspect', 'own'], ['history'], ['du'], ['run', 'own', 'true'], ['fsck'], ['rm', 'own'])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=GOOD, env=environ, cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "stdin", "code"),
    [
        (["build", "-"], GOOD, 0),
        (["build", "-"], BAD, 1),
        (["build", "-"], b"FRMO busybox", 1),
        (["build", "--check", "-"], GOOD, 0),
        (["build", "--check", "-"], WARNED, 1),
        (["build", "--call=check,format=json", "-"], WARNED, 1),
        (["build", "--call=check,ignorestatus=true", "-"], WARNED, 0),
        (["build", "--call=check,ignorestatus=true", "-"], b"# check=error=true\n" + WARNED, 1),
        (["build", "--call=outline", "-"], WARNED, 0),
        (["build"], b"", 1),
        (["build", "nowhere"], b"", 1),
        (["build", "--nosuch", "-"], GOOD, 125),
        (["build", "--progress=loud", "-"], GOOD, 1),
        (["build", "--push=maybe", "-"], GOOD, 125),
        (["build", "--into", "x", "-"], GOOD, 125),
        (["prune", "--nosuch"], b"", 125),
        (["volume", "creat", "x"], b"", 1),
        (["nosuch"], b"", 1),
        (["run"], b"", 1),
        (["run", "--nosuch", "busybox"], b"", 125),
        (["run", "busybox", "nosuch"], b"", 127),
        (["run", "busybox", "sh", "-c", "exit 42"], b"", 42),
        (["run", "--init", "busybox", "sh", "-c", "kill -15 $$"], b"", 143),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_exit_codes_are_those_of_docker(pybuild: Pybuild, words: list[str], stdin: bytes, code: int) -> None:
    done = pybuild(*words, stdin=stdin, code=code)
    assert b"Traceback" not in done.stderr
    assert b"%build" not in done.stderr


def test_a_store_that_is_too_large_is_collected_before_the_command_ends(
    pybuild: Pybuild, monkeypatch: pytest.MonkeyPatch, cli_home: Path
) -> None:
    monkeypatch.setenv("PYBUILD_KEEP_STORAGE", "1B")
    pybuild("build", "-", stdin=GOOD)
    with Store(cli_home) as store:
        kept = [record.description for _, record in store.cache.items()]
        assert store.images.list() and not [line for line in kept if "RUN" in line], kept


def test_progress_goes_to_stderr_and_results_to_stdout(pybuild: Pybuild, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_bytes(GOOD)
    plain = pybuild("build", "--no-cache", "--progress=plain", "-t", "shown", ".")
    assert plain.stdout == b""
    assert b"[2/2] RUN echo out" in plain.stderr
    raw = pybuild("build", "--progress", "rawjson", ".", "--metadata-file", "meta.json")
    lines = [json.loads(line) for line in raw.stderr.splitlines()]
    assert any("vertexes" in line for line in lines)
    assert json.loads((tmp_path / "meta.json").read_text())["buildx.build.ref"]
    quiet = pybuild("build", "-q", "-t", "shown", ".")
    assert quiet.stderr == b""
    assert quiet.stdout.startswith(b"sha256:")
    assert json.loads(pybuild("build", "--call", "outline,format=json", ".").stdout)["sources"]


def test_streams_are_the_process_s_own(pybuild: Pybuild) -> None:
    done = pybuild("run", "-i", "busybox", "sh", "-c", "cat; echo err >&2", stdin=b"x" * 100_000)
    assert (done.stdout, done.stderr) == (b"x" * 100_000, b"err\n")
    assert pybuild("run", "busybox", "cat", stdin=b"not read").stdout == b""


def test_a_reader_that_goes_ends_a_process_that_writes(environ: dict[str, str]) -> None:
    line = f"{' '.join(COMMAND)} run busybox yes | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=environ, capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == (b"y\n", 141)


def test_a_failed_step_is_looked_into_by_the_next_command(pybuild: Pybuild) -> None:
    failed = pybuild("build", "-", stdin=BAD, code=1)
    assert b"pybuild run @failed" in failed.stderr
    assert pybuild("run", "@failed", "cat", "/left").stdout == b"lost\n"
    assert b"exec.failed" in pybuild("du").stdout
    # With --debug the shell is there at once, and what it reads is what comes after the Dockerfile.
    assert pybuild("run", "-i", "@failed", stdin=b"cat /left\n").stdout == b"lost\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["he"], {"-"}),
        (["bu"], {"build", "builders"}),
        (["run", "--entry"], {"--entrypoint"}),
        (["run", "busy"], {"busybox:latest"}),
        (["run", "@f"], {"@failed"}),
        (["run", "--net=n"], {"--net=none"}),
        (["run", "--pull", "n"], {"never"}),
        (["run", "--cap-add", "SYS_PT"], {"SYS_PTRACE"}),
        (["run", "--rest"], {"-"}),
        (["stop", "-s", "SIGK"], {"SIGKILL"}),
        (["run", "--network=n"], {"--network=none"}),
        (["kernel", "--disp"], {"--display-name"}),
        (["imagetools", "ins"], {"inspect"}),
        (["imagetools", "create", "--dr"], {"--dry-run"}),
        (["volume", "pr"], {"prune"}),
        (["use", "emb"], {"embedded"}),
        (["completion", "z"], {"zsh"}),
        (["prune", "--keep"], {"--keep-storage"}),
        (["build", "--progress", "t"], {"tty"}),
        (["bake", "--prog"], {"--progress"}),
        (["build", "--network", ""], {"default", "none", "host"}),
        (["build", "--network=n"], {"--network=none"}),
        (["convert", "--compression", "z"], {"zstd"}),
    ],
)
def test_bash_completes(environ: dict[str, str], words: list[str], expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "pybuild").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    (tmp_path / "pybuild").chmod(0o755)
    line = " ".join(["pybuild", *words])
    code = (
        f'eval "$(pybuild completion bash)"; COMP_LINE="{line}" COMP_POINT={len(line)} COMP_WORDBREAKS=; _pybuild; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}:{environ['PATH']}"
    done = subprocess.run(["bash", "-c", code], env=environ | {"PATH": path}, capture_output=True, check=True)
    assert set(done.stdout.decode().split()) == expected - {"-"}


def test_the_tab_key_completes_words_with_signs_that_divide_words_in_bash(
    environ: dict[str, str], terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    (tmp_path / "pybuild").write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    (tmp_path / "pybuild").chmod(0o755)
    (tmp_path / "labels.txt").touch()
    environ["PATH"] = f"{tmp_path}:{environ['PATH']}"
    shell = terminal("bash", "--norc", "-i")
    shell.type("stty -echo; PS1=; bind 'set bell-style none'; eval \"$(pybuild completion bash)\"; echo rea''dy\n")
    shell.until("ready")
    for typed, completed in {
        "run --network=h": "run --network=host ",
        "run busybox:l": "run busybox:latest ",
        "run --label-file=./lab": "run --label-file=./labels.txt ",
        "run --env-file lab": "run --env-file labels.txt ",
        "run -i --entry": "run -i --entrypoint ",
    }.items():
        shell.type(f"pybuild {typed}\t\x01echo '[\x05]'\n")
        shell.until(f"[pybuild {completed}]\r\n")
    shell.type("exit\n")
    shell.end()
