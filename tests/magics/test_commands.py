"""`%build COMMAND`: what the store holds, and tidying it."""

from __future__ import annotations

import pytest

from pybuild_magic.builders import embedded_builder
from pybuild_magic.display.table import Groups, Table
from pybuild_magic.result import Image
from pybuild_magic.run.named import held_volumes, remove_volume

from .conftest import Shell


@pytest.fixture
def built(shell: Shell) -> Shell:
    shell.run("%%build -t team/hello:1 -\nFROM scratch\nCOPY <<EOF /hello.txt\nhello\nEOF\nLABEL a=b\n")
    return shell


def column(table: Table | Groups, title: str) -> list[str]:
    return [row[table.columns.index(title)] for row in table.rows]


def test_images_are_listed_by_the_names_that_people_use(built: Shell) -> None:
    table = built.run("%build images")
    assert "team/hello:1" in column(table, "NAME")
    assert "team/hello:1" in built.out
    assert "<table" in table._repr_html_()


def test_inspect_is_the_image_as_a_build_shows_it(built: Shell) -> None:
    image = built.run("%build inspect team/hello:1")
    assert isinstance(image, Image)
    assert image.config["config"]["Labels"] == {"a": "b"}
    assert "COPY <<EOF /hello.txt" in built.out


def test_inspect_has_files_what_layers_change_and_differences(built: Shell) -> None:
    built.run("%%build -t team/hello:2 -\nFROM team/hello:1\nCOPY <<EOF /more.txt\nmore\nEOF\n")
    old, new = built.run("%build inspect team/hello:1"), built.run("%build inspect team/hello:2")
    assert "more.txt" in {entry.path for entry in new.files}
    assert new.files.read("more.txt") == b"more\n"
    assert [layer.files_added for layer in new.layers][-1] == 1
    assert [(file.kind, file.file.path) for file in new.diff(old).files] == [("A", "more.txt")]


def test_history_has_every_build_and_the_log_of_each(built: Shell) -> None:
    built.fail("%%build -t broken -\nFROM scratch\nCOPY missing /\n")
    table = built.run("%build history")
    assert column(table, "STATUS")[:2] == ["error", "completed"]
    assert column(table, "NAME")[:2] == ["broken", "team/hello:1"]
    assert 'data-pybuild-open="build ' in table._repr_html_()
    log = built.run(f"%build history {column(table, 'REF')[1]}")
    assert "COPY <<EOF /hello.txt" in repr(log)


def test_usage_and_pruning(built: Shell) -> None:
    before = built.run("%build du")
    assert before.head.startswith("Total ") and repr(before).startswith("Total ")
    assert {title.split(":")[0] for title, _ in before.groups} >= {"Layers (regular)", "Records (internal)"}
    assert all(row[1] for row in before.rows) and "<details><summary><strong>Layers (regular)" in before._repr_html_()
    assert "COPY <<EOF /hello.txt" in " ".join(column(before, "DESCRIPTION"))
    built.run("%build rm team/hello:1")
    assert "Removed docker.io/team/hello:1" in built.out
    assert "team/hello:1" not in column(built.run("%build images"), "NAME")
    pruned = built.run("%build prune -a")
    assert "COPY <<EOF /hello.txt" in " ".join(column(pruned, "DESCRIPTION"))
    assert "COPY <<EOF /hello.txt" not in " ".join(column(built.run("%build du"), "DESCRIPTION"))


def test_removing_one_image_leaves_the_others_whole(built: Shell) -> None:
    """Also one without layers, whose manifest says null where others have a list."""
    built.run("%%build -t empty -\nFROM scratch\nLABEL no=layers\n")
    built.run("%build rm team/hello:1")
    assert built.run("%build inspect empty").config["config"]["Labels"] == {"no": "layers"}
    assert "empty:latest" in column(built.run("%build images"), "NAME")


def test_prune_keeps_what_is_younger(built: Shell) -> None:
    assert built.run("%build prune -a --until 24h").rows == ()


def test_the_store_is_collected_as_far_as_its_limit(
    built: Shell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYBUILD_KEEP_STORAGE", "3g")
    assert "kept below 3.22 GB (as set)" in built.run("%build du").head
    assert "Nothing would be removed" in built.run("%build gc --dry-run").note
    with held_volumes(["data"]) as places:
        (places["data"] / "file").write_bytes(bytes(3_000_000))
    assert "(as set); volumes take 3.00 MB besides" in built.run("%build du").head
    remove_volume("data")
    assert "besides" not in built.run("%build du").head
    built.run('%config BuildMagics.keep_storage = "off"')  # or the build's own collection might come first
    try:
        built.run("%%build -\nFROM scratch\nCOPY <<EOF /unnamed.txt\nhello\nEOF\n")
        built.run('%config BuildMagics.keep_storage = "1k"')
        planned = built.run("%build gc --dry-run")
        assert "COPY <<EOF /unnamed.txt" in " ".join(column(planned, "DESCRIPTION"))
        assert "Would free" in planned.note
        assert "cached result" in repr(built.run("%build gc"))
        kept = "because named images and data in use are kept."
        assert kept in repr(built.run("%build gc")) and kept in built.run("%build gc --dry-run").note
        assert "COPY <<EOF /unnamed.txt" not in " ".join(column(built.run("%build du"), "DESCRIPTION"))
        assert "team/hello:1" in column(built.run("%build images"), "NAME")
        built.run('%config BuildMagics.keep_storage = "off"')
        assert "no limit is set" in built.run("%build du").head
        built.run('%config BuildMagics.keep_storage = "much"')
        assert "keep_storage 'much' is not a size" in caplog.text, "IPython logs it"
        assert "no limit is set" in built.run("%build du").head
    finally:
        built.run('%config BuildMagics.keep_storage = ""')
    assert "Unknown flag --dry. Did you mean --dry-run?" in str(built.fail("%build gc --dry"))


def test_what_a_collection_freed_is_told_with_the_next_build(built: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYBUILD_KEEP_STORAGE", "1k")
    built.run("%%build -\nFROM scratch\nCOPY <<EOF /unnamed.txt\nhello\nEOF\n")
    embedded_builder().collector.wait()
    built.run("%%build -\nFROM scratch\n")
    assert "Collected " in built.out and "because named images and data in use are kept." in built.out


def test_fsck_finds_a_sound_store_sound(built: Shell) -> None:
    assert built.run("%build fsck").note == "The store is sound."
    assert built.run("%build fsck --repair").rows == ()


@pytest.mark.parametrize("name", ["env", "run", "test"])
def test_a_question_mark_after_a_command_asks_for_its_flags(shell: Shell, name: str) -> None:
    """IPython would look for an object with the name, and its own magic %env is one."""
    page = shell.run(f"%build {name} --help")
    assert repr(shell.run(f"%build {name}?")) == repr(page)
    assert repr(shell.run(f"%build {name}??\n")) == repr(page)


@pytest.mark.parametrize("line", ["%build --help", "%build", "%%build --help\nFROM scratch"])
def test_help_lists_flags_and_commands(shell: Shell, line: str) -> None:
    page = repr(shell.run(line))
    for word in ("-t, --tag NAME[:TAG]", "--dry-run", "prune", "fsck [--repair]", "CONTEXT"):
        assert word in page
    assert max(map(len, page.splitlines())) < 125


def test_the_doctor_tells_of_this_machine_and_what_to_change(shell: Shell) -> None:
    report = shell.run("%build doctor")
    assert "RUN" in shell.out
    assert "WHAT" in shell.out
    assert "<table" in report._repr_html_()
    assert any(name == "pybuild_magic" for name in (one.name for one in report.facts.versions))
    assert "does not take x" in str(shell.fail("%build doctor x"))
