"""What a failed step left: opened with its own surroundings, and gone when it is to be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.builders.embedded import failed
from pybuild_magic.display.service import NeedsKeyError, Service
from pybuild_magic.errors import RunError, StoreError, UnsupportedError, UsageError
from pybuild_magic.notebook.debugging import files_of, terminal_of
from pybuild_magic.run import options_from, run, run_with

pytestmark = pytest.mark.usefixtures("store")

DOCKERFILE = """\
FROM busybox
ENV COLOR=green
WORKDIR /work
RUN mkdir -p /home/user && echo 'user:x:1000:1000::/home/user:/bin/sh' > /etc/passwd && chown 1000 /work
COPY given /work/given
USER user
RUN --mount=type=bind,source=given,target=/shown --mount=type=cache,target=/cache,mode=0777 \\
    --mount=type=secret,id=key,target=/run/key,uid=1000 --mount=type=tmpfs,target=/scratch \\
    echo made > made && rm -f /cache/kept && echo kept > /cache/kept && rm given && exit 7
"""
LOOK = "id -u; pwd; echo $COLOR; cat made; cat /shown; cat /cache/kept; cat /run/key; test -e given || echo gone"
SEEN = "1000\n/work\ngreen\nmade\ncontext\nkept\nsecret\ngone\n"


def _fail(tmp_path: Path, dockerfile: str = DOCKERFILE) -> RunError:
    (tmp_path / "key").write_text("secret\n")
    with pytest.raises(RunError) as caught:
        build(dockerfile, {"given": "context\n"}, secrets=f"id=key,src={tmp_path}/key", progress="quiet")
    return caught.value


def test_the_state_of_a_failed_step_is_opened_as_the_step_saw_it(tmp_path: Path) -> None:
    error = _fail(tmp_path)
    assert error.exit_code == 7
    assert run("@failed", "sh", "-c", LOOK).text == SEEN
    assert error.run("sh", "-c", LOOK).text == SEEN
    options, rest = options_from(["-e", "COLOR=red", "-u", "0", "-w", "/", "@failed"])
    assert run_with(rest[0], (), options, script="id -u; pwd; echo $COLOR").text == "0\n/\nred\n"
    asked = run("@failed", "cat", "/etc/resolv.conf", dns="192.0.2.1", dns_search=".", dns_options="ndots:2")
    assert asked.text == "nameserver 192.0.2.1\noptions ndots:2\n"


def test_python_looks_into_a_failed_step(tmp_path: Path) -> None:
    error = _fail(tmp_path)
    assert error.files.read("work/made") == b"made\n"
    assert "work/given" not in error.files
    assert [(change.kind, change.file.path) for change in error.diff()] == [("D", "work/given"), ("A", "work/made")]


def test_another_process_opens_it_without_its_secrets(tmp_path: Path) -> None:
    _fail(tmp_path)
    code = f"import pybuild_magic; print(pybuild_magic.run('@failed', 'sh', '-c', {LOOK!r}).text, end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == SEEN.replace("secret\n", "")


def test_it_is_told_and_goes_with_the_next_build_a_prune_or_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = embedded_builder()
    error = _fail(tmp_path)
    rows = [row for row in builder.disk_usage().rows if row.type == failed.KIND]
    assert len(rows) == 1
    assert rows[0].description.startswith("failed: ")
    with monkeypatch.context() as patch:
        patch.setattr(failed, "KEPT_SECONDS", 0.0)
        with pytest.raises(StoreError, match="No step has failed"):
            run("@failed", "true")
    build("FROM busybox", "-", progress="quiet")
    with pytest.raises(StoreError, match="is gone"):
        error.run("true")
    _fail(tmp_path)
    assert builder.prune(filters=[f"type={failed.KIND}"]).records
    with pytest.raises(StoreError, match="No step has failed"):
        run("@failed", "true")


def test_of_several_the_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = embedded_builder()
    monkeypatch.setattr(failed, "MOST", 2)
    monkeypatch.setattr(builder.failed, "forget", lambda: None)
    errors = [_fail(tmp_path, f"FROM busybox\nRUN echo {number} > /number; exit 1") for number in range(3)]
    assert [error.run("cat", "/number").text for error in errors[1:]] == ["1\n", "2\n"]
    with pytest.raises(StoreError, match="is gone"):
        errors[0].run("true")


def test_too_much_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not embedded_builder().sandbox.overlay:
        pytest.skip("what a step wrote lies among all files of its root")
    monkeypatch.setattr(failed, "LARGEST", 1 << 20)
    error = _fail(tmp_path, "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=2; exit 1")
    with pytest.raises(UnsupportedError, match="was not kept"):
        error.run("true")


def test_a_change_of_a_failed_step_can_be_kept_as_an_image(tmp_path: Path) -> None:
    _fail(tmp_path)
    run("@failed", "sh", "-c", "echo mended > made", commit="mended")
    assert run("mended", "cat", "made").text == "mended\n"
    assert builders.embedded_builder().store.images.get("docker.io/library/mended:latest")


def test_a_cell_shows_what_a_step_left_when_it_is_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell.instance()
    pybuild_magic.load_ipython_extension(shell)
    text = "FROM busybox\nRUN echo half > /done; exit 3"
    for flags, told in (("--debug", True), ("", False)):
        shell.run_cell(f"%%build --progress=quiet {flags}\n{text}")
        assert ("pybuild run -it @failed" in capsys.readouterr().out) is told


def test_a_page_shows_the_files_of_the_step_that_its_card_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_builder().failed, "forget", lambda: None)
    service = Service()
    service.add("failed_files", files_of)
    names: list[str] = []
    for number in range(2):
        with pytest.raises(RunError) as caught:
            build(f"FROM busybox\nRUN echo {number} > /number; rm /bin/ls; exit 1", "-", progress="quiet")
        names.append(caught.value.state_name)
        assert run(names[0], "cat", "/number").text == "0\n"
    with pytest.raises(NeedsKeyError):
        service.answer("", "failed_files", {"ref": names[0]})
    for name, number in ((names[0], 0), (names[1], 1), ("@failed", 1)):
        summary, _ = service.answer("", "failed_files", {"ref": name}, service.key)
        assert (summary["view"], summary["image"]["names"]) == ("files", ("Where the step failed",))
        (manifest,) = summary["image"]["manifests"]
        own = manifest["layers"][-1]
        assert own["created_by"].endswith("exit 1")
        asked = {"of": "image", "platform": manifest["platform"], "path": "number"}
        assert service.answer(summary["fetch"], "file", asked)[1] == [f"{number}\n".encode()]
        columns = service.answer(summary["fetch"], "files", {"of": f"layer:{own['diff_id']}"})[0]["columns"]
        assert dict(zip(columns["names"].split("/"), columns["change"], strict=True))["ls"] == "D"
    with pytest.raises(UsageError, match="what a failed step left"):
        service.answer("", "failed_files", {"ref": "busybox"}, service.key)


def test_a_page_is_told_how_a_terminal_is_opened() -> None:
    service = Service()
    service.add("terminal", terminal_of)
    with pytest.raises(NeedsKeyError):
        service.answer("", "terminal", {"ref": "busybox"})
    with pytest.raises(RunError):
        build("FROM busybox\nRUN echo half > /done; exit 3", "-", progress="quiet")
    for ref in ("busybox", "@failed"):
        answer, _ = service.answer("", "terminal", {"ref": ref}, service.key)
        script = f"{answer['command']} -c 'tty; cat /done; exit 5'"
        ran = subprocess.run(["script", "-qec", script, "/dev/null"], capture_output=True, text=True, check=False)
        assert ran.returncode == 5, ran.stdout
        assert "/dev/pts/" in ran.stdout
        assert ("half" in ran.stdout) is (ref == "@failed")
