"""Mounts of a process that are outputs of it: each result is the file system that BuildKit makes."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from pybuild_magic.cache.records import decode_config
from tests.conformance.cachekeys import Key, config_of, differing, keys, manifest_of
from tests.integration.lab import Home
from tests.services.buildkit import Engine

from .conftest import Front
from .test_frontends import BASE, OUTPUT, context_of, image_of

pytestmark = pytest.mark.xdist_group("frontends")

WRITE = "echo hi > /out/hi; mkdir /out/d; chown 5:6 /out/d; echo root > /root-file"
TREE = f"mount /out scratch\nexec {WRITE}\n"
CHANGED = (
    "copy / /src/\nmount /out top on=/src/dir\n"
    "exec rm /out/b.txt; echo more >> /out/run; chmod 700 /out/run; chown 7:8 /out/run; ln /out/run /out/link; "
    "ln -s run /out/sym; mkdir -p /out/new/er; touch -d @5 /out/new/er/x\n"
)
CASES = {
    "of an empty file system": f"{TREE}pick 1\n",
    "and the root": TREE,
    "copied into the root": f"{TREE}graft 1 /d /there/\ngraft 1 /hi /hi\n",
    "copied from the root": f"{TREE}pick 1\ngraft 0 /root-file /\n",
    "merged": f"{TREE}merge 0 1\n",
    "compared": "mount /out top\nexec echo hi > /out/hi\ndiff 0 1\n",
    "of an input": f"{CHANGED}pick 1\n",
    "of an input, and the root": CHANGED,
    "of an input, deleted": "mount /out top\nexec rm -r /out/etc; rm /out/bin/busybox; mkdir /out/etc\npick 1\n",
    "unchanged": "mount /out scratch\nexec true\npick 1\n",
    "unchanged, of an input": "mount /out top\nexec true\npick 1\n",
    "read-only": "mount /out top ro\nexec ls /out/bin >/list\npick 1\n",
    "read-only and empty": "mount /out scratch ro\nexec ls /out >/list\npick 1\n",
    "of a read-only root": "mount / top ro\nmount /out scratch\nexec echo hi > /out/hi\n",
    "beside a read-only root": "mount / top ro\nmount /out scratch\nexec echo hi > /out/hi\npick 1\n",
    "beside a root without an output": "mount / top ro off\nmount /out scratch\nexec echo hi > /out/hi\npick 0\n",
    "of a cache, which stays as it was": "mount /out top cache\nexec echo hi > /out/hi\npick 1\n",
    "of a cache without an input, which has none": "mount /c scratch cache\nmount /out scratch\n"
    "exec echo hi > /out/hi\npick 1\n",
    "several": "mount /b scratch\nmount /a scratch\nmount /c scratch off\nexec echo a > /a/a; echo b > /b/b\n"
    "merge 1 2\n",
    "one in another": "mount /out scratch\nmount /out/in scratch\n"
    "exec echo o > /out/o; echo i > /out/in/i\nmerge 1 2\n",
    "read by the next process": f"{TREE}mount /was 1\nexec cat /was/hi > /seen\n",
    "changed by the next process": f"{TREE}mount /was 1\nexec echo more >> /was/hi\npick 1\n",
}


@pytest.mark.parametrize("name", CASES)
def test_an_output_is_that_of_buildkit(name: str, front: Front, home: Home, engine: Engine, tmp_path: Path) -> None:
    text = f"# syntax={front.ref} and more\n{BASE}{CASES[name]}"
    context = context_of(tmp_path)
    theirs = engine.build_oci(context, tmp_path / "theirs.tar", dockerfile=text)
    output = f"{OUTPUT},dest={tmp_path / 'ours.tar'}"
    home.build(text, context, build_args={"SOURCE_DATE_EPOCH": "0"}, outputs=[output], no_cache=True)
    assert image_of(tmp_path / "ours.tar") == image_of(theirs)


CACHED = [name for number, (name, text) in enumerate(CASES.items()) if "copy" in text or number % 3 == 0]
EXPORTING = "type=local,mode=max,compression=uncompressed,dest="
UNATTESTED = ("--provenance=false", "--output=type=cacheonly")


def export_buildkits(engine: Engine, text: str, context: str, tmp_path: Path, name: str = "theirs") -> list[Key]:
    """Export BuildKit's cache of a text to a directory, and return its keys."""
    (tmp_path / "Dockerfile").write_text(text)
    engine.buildx_build(
        context, *UNATTESTED, f"--cache-to={EXPORTING}{tmp_path / name}", f"--file={tmp_path / 'Dockerfile'}"
    )
    return _keys(tmp_path / name)


def export_ours(home: Home, text: str, context: str, folder: Path) -> list[Key]:
    """Export this builder's cache of a text, all of which is run, and return its keys."""
    cache_to = [f"{EXPORTING}{folder}"]
    home.build(text, context, cache_to=cache_to, outputs=["type=cacheonly"], provenance=False, no_cache=True)
    return _keys(folder)


@pytest.mark.parametrize("name", CACHED)
def test_its_cache_is_that_of_buildkit(name: str, front: Front, home: Home, engine: Engine, tmp_path: Path) -> None:
    text = f"# syntax={front.ref} and more\n{BASE}{CASES[name]}"
    context = context_of(tmp_path)
    theirs = export_buildkits(engine, text, context, tmp_path)
    home.builder.prune(all=True)
    imported = home.build(
        text,
        context,
        cache_from=[f"type=local,src={tmp_path / 'theirs'}"],
        outputs=["type=cacheonly"],
        provenance=False,
    )
    steps = [step for step in imported.vertexes if step.name.startswith(("EXEC", "copy", "merge", "diff"))]
    assert steps
    assert [step.name for step in steps if not step.cached] == []
    assert differing(theirs, export_ours(home, text, context, tmp_path / "ours")) == []


def test_buildkit_finds_what_a_front_end_has_made_here(
    front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    told = f"echo {secrets.token_hex(8)} > /said"  # what no builder has run
    text = f"# syntax={front.ref} and more\n{BASE}copy / /src/\nrun {told}\nexec cat /said /src/a.txt > /both\n"
    context = context_of(tmp_path)
    export_ours(home, text, context, tmp_path / "ours")
    (tmp_path / "Dockerfile").write_text(text)
    source = f"--cache-from=type=local,src={tmp_path / 'ours'}"
    command = ("buildx", "build", "--progress=rawjson", *UNATTESTED, source, f"--file={tmp_path / 'Dockerfile'}")
    messages = [json.loads(line) for line in engine.docker(*command, context).stderr.splitlines() if line[:1] == "{"]
    steps = {
        step["name"]: bool(step.get("cached"))
        for message in messages
        for step in message.get("vertexes", ())
        if step["name"].startswith(("RUN", "EXEC", "copy")) and step.get("completed")
    }
    assert steps == dict.fromkeys(("copy / /src/", f"RUN {told}", "EXEC cat /said /src/a.txt > /both"), True)


def test_buildkit_knows_a_directory_by_the_mode_with_which_it_first_came(
    front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    """Of a directory that it has kept from the build before, a new mode gets into the files, but not into the key."""
    text = f"# syntax={front.ref} and more\n{BASE}copy / /src/\n"
    context = context_of(tmp_path)
    before = export_buildkits(engine, text, context, tmp_path, "before")
    assert differing(before, export_ours(home, text, context, tmp_path / "1")) == []
    (Path(context) / "dir").chmod(0o700)
    assert differing(export_buildkits(engine, text, context, tmp_path, "after"), before) == []
    assert len(differing(before, export_ours(home, text, context, tmp_path / "2"))) == 2
    renamed = Path(context).rename(tmp_path / secrets.token_hex(6))
    ours = export_ours(home, text, str(renamed), tmp_path / "3")
    assert differing(export_buildkits(engine, text, str(renamed), tmp_path, "renamed"), ours) == []


def _keys(directory: Path) -> list[Key]:
    return keys(decode_config(config_of(directory, manifest_of(directory))))


def test_an_output_that_there_is_not_is_a_sentence(front: Front, home: Home) -> None:
    error = home.fails(f"# syntax={front.ref}\n{BASE}{TREE}pick 2\n")
    assert error.message.endswith(f"invalid output index 2: EXEC {WRITE} has 2")
