"""Mounts of a process that are outputs of it: each result is the file system that BuildKit makes."""

from __future__ import annotations

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


CACHED = [name for name, text in CASES.items() if "copy" not in text][::3]
"""Some cases without a context: what BuildKit keeps of that from the build before is in its checksums too."""


@pytest.mark.parametrize("name", CACHED)
def test_its_cache_is_that_of_buildkit(name: str, front: Front, home: Home, engine: Engine, tmp_path: Path) -> None:
    text = f"# syntax={front.ref} and more\n{BASE}{CASES[name]}"
    context = context_of(tmp_path)
    (tmp_path / "Dockerfile").write_text(text)
    exporting = "type=local,mode=max,compression=uncompressed,dest="
    flags = ("--provenance=false", f"--cache-to={exporting}{tmp_path / 'theirs'}", "--output=type=cacheonly")
    engine.buildx_build(context, *flags, f"--file={tmp_path / 'Dockerfile'}")
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
    home.build(
        text,
        context,
        cache_to=[f"{exporting}{tmp_path / 'ours'}"],
        outputs=["type=cacheonly"],
        provenance=False,
        no_cache=True,
    )
    theirs, ours = (_keys(tmp_path / who) for who in ("theirs", "ours"))
    assert differing(theirs, ours) == []


def _keys(directory: Path) -> list[Key]:
    return keys(decode_config(config_of(directory, manifest_of(directory))))


def test_an_output_that_there_is_not_is_a_sentence(front: Front, home: Home) -> None:
    error = home.fails(f"# syntax={front.ref}\n{BASE}{TREE}pick 2\n")
    assert error.message.endswith(f"invalid output index 2: EXEC {WRITE} has 2")
