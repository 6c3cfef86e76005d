"""What a result was made of is attested as it is asked for, where it belongs, and without what is secret."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.errors import ExportError, UnsupportedError, UsageError
from tests.attest.documents import Archive
from tests.integration.lab import Home
from tests.search import holders

DOCKERFILE = """FROM busybox AS base
ARG FOO=1
RUN --network=none --mount=type=secret,id=token echo $FOO > /a
FROM scratch
COPY --from=base /a /b
COPY f /f
"""
FILES = {"f": "of the context\n"}
V1 = "https://slsa.dev/provenance/v1"
V02 = "https://slsa.dev/provenance/v0.2"


def attested(home: Home, tmp_path: Path, provenance: Any, output: str = "type=oci", **options: Any) -> Archive:
    path = tmp_path / "out.tar"
    home.build(DOCKERFILE, FILES, provenance=provenance, outputs=f"{output},dest={path}", **options)
    return Archive(path)


def test_an_image_is_attested_by_a_manifest_beside_it(home: Home, tmp_path: Path) -> None:
    archive = attested(home, tmp_path, "mode=max", tags=["one:1", "example.com/two"])
    (image,), (entry,) = archive.images, archive.entries
    assert entry["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert entry["annotations"] == {
        "vnd.docker.reference.digest": image["digest"],
        "vnd.docker.reference.type": "attestation-manifest",
    }
    manifest = archive.document(entry["digest"])
    assert manifest["subject"]["digest"] == image["digest"]
    assert manifest["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json"
    assert manifest["config"]["data"] == "e30="
    (statement,) = archive.statements
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert [manifest["layers"][0]["annotations"]["in-toto.io/predicate-type"], statement["predicateType"]] == [V1, V1]
    algorithm, _, value = image["digest"].partition(":")
    names = [subject["name"].partition("?")[0] for subject in statement["subject"]]
    assert names == ["pkg:docker/one@1", "pkg:docker/example.com/two@latest"]
    assert all(subject["digest"] == {algorithm: value} for subject in statement["subject"])


def test_the_most_tells_steps_lines_and_layers(home: Home, tmp_path: Path) -> None:
    archive = attested(home, tmp_path, "mode=max", build_args={"FOO": "2"}, secrets=["id=token,env=HOME"])
    predicate = archive.statements[0]["predicate"]
    definition, run = predicate["buildDefinition"], predicate["runDetails"]
    request = definition["externalParameters"]["request"]
    assert request["args"]["build-arg:FOO"] == "2"
    assert request["secrets"] == [{"id": "token", "optional": True}]
    assert request["locals"] == [{"name": "context"}, {"name": "dockerfile"}]
    (material,) = definition["resolvedDependencies"]
    assert material["uri"].startswith("pkg:docker/busybox@latest?platform=linux%2F")
    assert len(material["digest"]["sha256"]) == 64
    metadata = run["metadata"]
    assert metadata["buildkit_completeness"] == {"request": True, "resolvedDependencies": False}
    steps = {step["id"]: step["op"]["Op"] for step in definition["internalParameters"]["buildConfig"]["llbDefinition"]}
    (ran,) = (name for name, op in steps.items() if "exec" in op)
    source = metadata["buildkit_metadata"]["source"]
    assert source["locations"][ran]["locations"][0]["ranges"][0]["start"] == {"line": 3}
    layers = archive.document(archive.images[0]["digest"])["layers"]
    found = metadata["buildkit_metadata"]["layers"].values()
    assert [[layer["digest"] for layer in layers]] in [
        [[one["digest"] for one in each] for each in one] for one in found
    ]


def test_the_least_tells_neither_arguments_nor_secrets_nor_steps(home: Home, tmp_path: Path) -> None:
    archive = attested(home, tmp_path, "mode=min,builder-id=https://me,reproducible=true", build_args={"FOO": "2"})
    predicate = archive.statements[0]["predicate"]
    request = predicate["buildDefinition"]["externalParameters"]["request"]
    assert not {"secrets", "ssh"} & request.keys()
    assert not [name for name in request.get("args", {}) if name.startswith("build-arg:")]
    assert "buildConfig" not in predicate["buildDefinition"]["internalParameters"]
    metadata = predicate["runDetails"]["metadata"]
    assert metadata["buildkit_completeness"]["request"] is False
    assert metadata["buildkit_reproducible"] is True
    assert metadata["buildkit_metadata"] == {}
    assert predicate["runDetails"]["builder"] == {"id": "https://me"}


def test_without_a_network_and_without_local_files_a_build_is_hermetic(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "out.tar"
    text = "FROM busybox\nRUN --network=none true\n"
    home.build(text, "-", provenance="mode=min,version=v0.2", outputs=f"type=oci,dest={path}")
    metadata = Archive(path).statements[0]["predicate"]["metadata"]
    # The Dockerfile is a local file itself.
    assert "https://mobyproject.org/buildkit@v1#hermetic" not in metadata
    assert metadata["completeness"]["materials"] is False


def test_files_have_their_attestations_beside_them(home: Home, tmp_path: Path) -> None:
    outputs = [f"type=local,dest={tmp_path}/d,attestation-prefix=x-", f"type=tar,dest={tmp_path}/t.tar"]
    home.build(DOCKERFILE, FILES, provenance="mode=min,version=v0.2", outputs=outputs)
    path = tmp_path / "d/x-provenance.json"
    assert path.stat().st_mode & 0o777 == 0o600
    statement = json.loads(path.read_text())
    assert statement["predicateType"] == V02
    assert [subject["name"] for subject in statement["subject"]] == ["b", "f"]
    with tarfile.open(tmp_path / "t.tar") as tar:
        assert tar.getnames() == ["b", "f", "provenance.json"]


def test_what_is_for_images_alone_is_in_no_files_and_no_archive(home: Home, tmp_path: Path) -> None:
    only = "mode=min,inline-only=true"
    archive = tmp_path / "plain.tar"
    outputs = [f"type=local,dest={tmp_path}/d", f"type=oci,dest={archive}"]
    home.build(DOCKERFILE, FILES, provenance=only, outputs=outputs)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["b", "f"]
    assert "layers" in Archive(archive).root
    result = home.build(DOCKERFILE, FILES, provenance=only, tags="inline")
    assert json.loads(home.builder.store.blobs.read(result.metadata["containerimage.digest"]))["manifests"]
    assert attested(home, tmp_path, only, "type=oci,attestation-inline=true").entries


def test_each_platform_has_its_own(home: Home, tmp_path: Path) -> None:
    platforms = ["linux/amd64", "linux/arm64"]
    text = "FROM scratch\nARG TARGETARCH\nCOPY f /$TARGETARCH\n"
    path = tmp_path / "out.tar"
    outputs = [f"type=oci,dest={path}", f"type=local,dest={tmp_path}/d"]
    outputs.append(f"type=local,dest={tmp_path}/flat,platform-split=false")
    home.build(text, FILES, platforms=platforms, provenance="mode=max", outputs=outputs, tags="x")
    archive = Archive(path)
    of = [entry["annotations"]["vnd.docker.reference.digest"] for entry in archive.entries]
    assert of == [image["digest"] for image in archive.images]
    subjects = [statement["subject"][0]["name"] for statement in archive.statements]
    assert subjects == ["pkg:docker/x@latest?platform=linux%2Famd64", "pkg:docker/x@latest?platform=linux%2Farm64"]
    assert (tmp_path / "d/linux_arm64/provenance.json").exists()
    names = {path.name for path in (tmp_path / "flat").iterdir()}
    assert names == {"amd64", "arm64", "provenance.linux_amd64.json", "provenance.linux_arm64.json"}


def test_an_empty_result_is_not_attested(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "out.tar"
    home.build("FROM scratch\nENV a=1\n", "-", provenance="mode=max", outputs=f"type=oci,dest={path}")
    assert Archive(path).entries == []


def test_nobody_is_asked_and_nothing_is_attested(home: Home, tmp_path: Path) -> None:
    plain = home.build(DOCKERFILE, FILES, tags="x").metadata["containerimage.digest"]
    for declined in (False, "false", "mode=max,disabled=true"):
        assert home.build(DOCKERFILE, FILES, tags="x", provenance=declined).metadata["containerimage.digest"] == plain


def test_by_build_arg_as_by_flag(home: Home, tmp_path: Path) -> None:
    archive = attested(home, tmp_path, None, build_args={"BUILDKIT_ATTEST_PROVENANCE": "mode=min"})
    assert archive.statements[0]["predicateType"] == V1


def test_the_commit_of_the_context_is_told_without_credentials(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "repo"
    (repo / "app").mkdir(parents=True)
    (repo / "app/f").write_text("x")

    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        return subprocess.run(
            ["git", *who, *words], cwd=repo, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "x")
    git("remote", "add", "origin", "https://user:hunter2@example.com/r.git")
    monkeypatch.setenv("BUILDX_GIT_CHECK_DIRTY", "1")

    def told() -> dict[str, str]:
        path = tmp_path / "out.tar"
        home.build(
            "FROM scratch\nCOPY f /\n", str(repo / "app"), provenance="mode=min", outputs=f"type=oci,dest={path}"
        )
        metadata = Archive(path).statements[0]["predicate"]["runDetails"]["metadata"]
        return metadata["buildkit_metadata"].get("vcs", {})

    expected = {"localdir:context": "app", "revision": git("rev-parse", "HEAD"), "source": "https://example.com/r.git"}
    assert told() == expected
    (repo / "app/f").write_text("y")
    assert told() == {**expected, "revision": expected["revision"] + "-dirty"}
    monkeypatch.setenv("BUILDX_GIT_INFO", "false")
    assert told() == {}
    assert not holders(home.root, b"hunter2")


def test_no_secret_and_no_credentials_of_a_url_are_attested(home: Home, tmp_path: Path) -> None:
    text = """FROM busybox
ARG INDEX
RUN --network=none --mount=type=secret,id=token : https://user:hunter2@example.com/x $INDEX && cat /run/secrets/token
"""
    (tmp_path / "token").write_text("correct-horse")
    home.build(
        text,
        "-",
        provenance="mode=max",
        secrets=f"id=token,src={tmp_path}/token",
        build_args={"INDEX": "https://me:hunter2@example.com/simple"},
        outputs=[f"type=oci,dest={tmp_path}/out.tar", f"type=local,dest={tmp_path}/d"],
    )
    statements = json.dumps(Archive(tmp_path / "out.tar").statements) + (tmp_path / "d/provenance.json").read_text()
    assert "xxxxx:xxxxx@example.com/simple" in statements
    (tmp_path / "token").unlink()
    assert not holders(tmp_path / "d/provenance.json", b"hunter2", b"correct-horse")
    assert not [word for word in ("hunter2", "correct-horse") if word in statements]


def test_no_directory_of_the_machine_is_attested(home: Home, tmp_path: Path) -> None:
    home.build("FROM scratch\nCOPY f /\n", FILES, outputs=f"type=oci,tar=false,dest={tmp_path}/layout", tags="base")
    path = tmp_path / "out.tar"
    contexts = {"base": f"oci-layout://{tmp_path}/layout"}
    text = "FROM base\nCOPY f /g\n"
    home.build(text, FILES, build_contexts=contexts, provenance="mode=max", outputs=f"type=oci,dest={path}")
    (statement,) = Archive(path).statements
    assert os.fspath(tmp_path) not in json.dumps(statement)
    (material,) = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert material["uri"].startswith("pkg:oci/base?digest=sha256:")


@pytest.mark.parametrize(
    ("provenance", "kind", "says"),
    [
        ("mode=most", UsageError, 'invalid mode "most"'),
        ("version=v2", UsageError, "invalid provenance SLSA version: v2"),
        ("reproducible=perhaps", UsageError, "must be true or false"),
        ("bilder-id=x", UsageError, "builder-id"),
        ("filename=../x", UsageError, "not a valid file name"),
        ("capture-usage=true", UnsupportedError, "capture-usage"),
    ],
)
def test_what_cannot_be_asked_for(home: Home, provenance: str, kind: type, says: str) -> None:
    error = home.fails(DOCKERFILE, FILES, provenance=provenance)
    assert isinstance(error, kind)
    assert says in f"{error.message} {error.hint}"


def test_docker_s_archive_and_docker_s_media_types_have_no_place_for_it(home: Home, tmp_path: Path) -> None:
    for output, kind in (("type=docker", ExportError), ("type=oci,oci-mediatypes=false", UsageError)):
        error = home.fails(DOCKERFILE, FILES, provenance="mode=min", outputs=f"{output},dest={tmp_path}/x.tar")
        assert isinstance(error, kind)
        assert "ttestations" in error.message
