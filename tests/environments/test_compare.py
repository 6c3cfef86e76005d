"""Two images compared by their packages: built ones, of every kind that is told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.compare import EnvironmentDifference, diff, version_order
from pybuild_magic.errors import StoreError

SITE = "srv/env/lib/python3.11/site-packages"
Versions = dict[str, str]


def image(deb: Versions, python: Versions, conda: Versions, npm: Versions, more: Versions) -> dict[str, str]:
    """The files of an environment with these packages."""
    stanzas = [
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nDescription: a\n"
        for name, version in deb.items()
    ]
    files = {"etc/os-release": "ID=debian\nVERSION_ID=12\n", "var/lib/dpkg/status": "\n".join(stanzas)}
    for name, version in python.items():
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        files[f"{SITE}/{name.replace('-', '_')}-{version}.dist-info/METADATA"] = metadata
    for name, version in conda.items():
        record = json.dumps({"name": name, "version": version, "build": "0", "channel": "local", "subdir": "noarch"})
        files[f"opt/conda/conda-meta/{name}-{version}-0.json"] = record
    for name, version in npm.items():
        files[f"usr/lib/node_modules/{name}/package.json"] = json.dumps({"name": name, "version": version})
    return {**files, **more}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(builders, "_embedded", None)
    yield
    embedded_builder().close()


def built(name: str, files: dict[str, str], label: str) -> None:
    dockerfile = f"FROM scratch\nCOPY . /\nLABEL version={label}\n"
    pybuild_magic.build(dockerfile, files, tags=[name], progress="quiet")


def test_packages_are_compared_by_what_installed_them(store: None) -> None:
    before = image(
        {"libc6": "2.36-9", "old": "1"},
        {"numpy": "1.26.4", "same-thing": "1.0"},
        {"numpy": "2.0.0"},
        {"left-pad": "1.3.0"},
        {"data": "1"},
    )
    after = image(
        {"libc6": "2.36-9+deb12u4"},
        {"numpy": "2.0.0rc1", "same-thing": "1.0", "<b>new": "1"},
        {"numpy": "1.26.4"},
        {"left-pad": "1.3.0"},
        {"data": "2"},
    )
    built("before", before, "1")
    built("after", after, "2")
    found = diff("before", "after")
    assert isinstance(found, EnvironmentDifference)
    assert [(one.kind, one.name, one.change) for one in found.packages if "b>" not in one.name] == [
        ("conda", "numpy", "older"),
        ("deb", "libc6", "newer"),
        ("deb", "old", "removed"),
        ("pypi", "numpy", "newer"),
    ]
    assert found.same == 2
    assert [change.key for change in found.files.config] == ["Labels version"]
    assert ("M", "data") in [(one.kind, one.file.path) for one in found.files]
    text = repr(found)
    assert "Packages: " in text and "2 newer" in text and "2 the same" in text
    assert "  newer   Python  numpy  1.26.4 -> 2.0.0rc1\n" in text
    page = found._repr_html_()
    assert "<b>new" not in page
    # One column of versions fits a narrow page, and a value that was not there is said to be none.
    assert '<td class="pb-text">1.26.4 → 2.0.0rc1</td>' in page
    built("plain", {"a": ""}, "1")
    pybuild_magic.build("FROM plain\nUSER 1000\n", {}, tags=["plain-user"], progress="quiet")
    assert 'User</th><td class="pb-text"><code>(none)</code></td>' in diff("plain", "plain-user")._repr_html_()
    assert not diff("after", "after")
    with pytest.raises(StoreError, match="Did you mean after"):
        diff("before", "afte")


def test_two_versions_of_a_package_in_one_image_are_both_told(store: None) -> None:
    one = image({}, {"numpy": "1.0"}, {}, {}, {})
    built("one", one, "1")
    second = "opt/other/lib/python3.12/site-packages/numpy-2.0.dist-info/METADATA"
    built("two", {**one, second: "Metadata-Version: 2.1\nName: numpy\nVersion: 2.0\n"}, "1")
    (change,) = diff("one", "two").packages
    assert (change.before, change.after, change.change) == (("1.0",), ("1.0", "2.0"), "changed")


def test_files_are_compared_by_path_by_place_and_as_values(store: None) -> None:
    one = {f"{SITE}/big/{number}.bin": "x" * 1000 for number in range(40)}
    built("before", {**one, "etc/kept": "a", "etc/gone": "b", "etc/changed": "c"}, "1")
    files = {**one, f"{SITE}/big/more.bin": "y" * 5000, "etc/kept": "a", "etc/changed": "cc", "opt/new/file": "d"}
    files |= {f"{SITE}/other/{number}.py": "" for number in range(40)}
    del files[f"{SITE}/big/0.bin"]
    built("after", files, "1")
    found = diff("before", "after")
    text = repr(found)
    assert f"  A   +5.00 kB  /{SITE}/big/more.bin\n" in text
    assert "By size:\n" in text and f"  +4.00 kB  /{SITE}/big (2 paths)" in text
    page = found._repr_html_()
    assert f'<td class="pb-num">+4.00 kB</td><td class="pb-text"><code>/{SITE}/big</code>' in page
    values = json.loads(json.dumps(found.to_dict()))
    assert values["places"][0] == {"place": f"/{SITE}/big", "before": 1000, "after": 5000, "files": 2, "size": 4000}
    told = {file["path"]: file for file in values["files"]}
    assert told["/etc/changed"]["change"] == "changed"
    assert (told["/etc/changed"]["before"]["size"], told["/etc/changed"]["after"]["size"]) == (1, 2)
    assert told["/etc/gone"]["after"] is None and told["/etc/gone"]["before"]["type"] == "file"
    assert told["/opt/new"]["after"]["type"] == "directory" and told["/opt/new"]["before"] is None
    assert "/etc/kept" not in told
    assert values["files_total"] == len(values["files"]) == len(found.files)


def test_of_many_files_those_are_shown_that_changed_the_most_in_size(store: None) -> None:
    built("none", {"a": "", "srv/own": "", "zz/own": ""}, "1")
    many = {f"srv/{number:04}": "x" * (number % 7) for number in range(5000)}
    built("many", {"a": "", "srv/own": "", "zz/own": "", **many, "zz/largest": "y" * 99_999}, "1")
    found = diff("none", "many")
    lines = repr(found).splitlines()
    assert lines[2].endswith("/zz/largest")
    assert "  … 4,701 more" in lines
    page = found._repr_html_()
    assert page.count("<code>/srv/") < 310 and len(page) < 100_000
    assert "5,001 paths, the 300 shown are those whose size changed the most" in page
    assert len(found.to_dict()["files"]) == 5001


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1.0rc1", "1.0"),
        ("1.0.dev3", "1.0"),
        ("1.0a1", "1.0b1"),
        ("1.0", "1.0.post1"),
        ("1.0~beta", "1.0"),
        ("1.0-1", "1.0-1+deb12u1"),
        ("9.9", "1:0.1"),
        ("1.0", "1.0.1"),
        ("12.2.0-14", "12.2.0-14+deb12u1"),
        ("2.36-9+deb12u4", "2.36-9+deb12u10"),
        ("1.1.1f", "1.1.1g"),
    ],
)
def test_versions_are_put_in_order(older: str, newer: str) -> None:
    assert version_order(older, newer) < 0 < version_order(newer, older)
    assert version_order(older, older) == 0
