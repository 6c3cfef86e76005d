"""What only a real BuildKit does for us: caches elsewhere, several platforms, attestations, history, and room."""

from __future__ import annotations

import json
import re
import secrets
import tarfile
from pathlib import Path
from typing import Any

import pytest

import pybuild_magic
from pybuild_magic.builders import choose, use
from pybuild_magic.display.table import Table
from pybuild_magic.errors import BuildError, DockerfileError, UnsupportedError
from pybuild_magic.notebook import commands
from pybuild_magic.result import BuildResult
from tests.services.buildkit import Engine
from tests.services.registry import Registry

from .lab import Lab

one_at_a_time = pytest.mark.xdist_group("engine-cache")
"""A daemon that prunes a part of its cache forgets for a moment what a build beside it has just made."""


def random_step() -> tuple[str, str]:
    """(a Dockerfile whose step never gives the same twice, the step's mark): no other test has it in its cache."""
    mark = secrets.token_hex(8)
    return f"FROM busybox\nRUN : {mark}; head -c 16 /dev/urandom | md5sum > /r\n", mark


def document(archive: Path, digest: str) -> dict[str, Any]:
    with tarfile.open(archive) as tar:
        return json.load(tar.extractfile(f"blobs/{digest.replace(':', '/')}") or pytest.fail())


def root(result: BuildResult) -> str:
    return result.metadata["containerimage.digest"]


@one_at_a_time
def test_a_cache_in_a_directory_is_written_and_read(lab: Lab) -> None:
    dockerfile, mark = random_step()
    lab.build(dockerfile, "-o one --cache-to type=local,dest=cache,mode=max")
    index = json.loads((lab.home / "cache/index.json").read_bytes())
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "latest"
    assert not list((lab.home / "cache/blobs").glob(".ingest*"))
    (lab.home / "empty").mkdir()
    assert choose(lab.builder).prune(all=True, filters=[f"description~={mark}"]).records
    result = lab.build(dockerfile, "-o two --cache-from type=local,src=cache --cache-from type=local,src=empty")
    assert any("importing cache manifest from local" in step.name for step in result.vertexes)
    assert (lab.home / "one/r").read_text() == (lab.home / "two/r").read_text(), result.vertexes


@one_at_a_time
def test_a_cache_in_a_registry_is_written_and_read(docker: Lab, registry: Registry) -> None:
    ref = f"{registry.host}/cache:1"
    dockerfile, mark = random_step()
    docker.build(dockerfile, f"-o one --cache-to type=registry,ref={ref},mode=max")
    assert choose("docker://").prune(all=True, filters=[f"description~={mark}"]).records
    result = docker.build(dockerfile, f"-o two --cache-from {ref}")
    assert (docker.home / "one/r").read_text() == (docker.home / "two/r").read_text()
    assert any(step.name == f"importing cache manifest from {ref}" and not step.error for step in result.vertexes)


@one_at_a_time
def test_a_cache_in_the_image_itself(docker: Lab, registry: Registry) -> None:
    name = f"{registry.host}/inline:1"
    result = docker.build(random_step()[0], f"-t {name} --push --provenance=false --build-arg BUILDKIT_INLINE_CACHE=1")
    assert result.image is not None
    assert "moby.buildkit.cache.v0" in result.image.config


def test_several_platforms_are_one_index(lab: Lab) -> None:
    words = "--platform linux/amd64,linux/arm64,linux/arm/v7 --provenance=false -o type=oci,dest=out.tar"
    result = lab.build("FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY a /\n", words, {"a": "x"})
    assert result.image is not None
    platforms = [manifest.platform for manifest in result.image.summary.manifests]
    assert platforms == ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    assert [one.config["config"]["Labels"]["arch"] for one in result.image.summary.manifests] == [
        "amd64",
        "arm64",
        "arm",
    ]


def test_provenance_is_there_when_it_is_asked_for(lab: Lab) -> None:
    kinds: dict[str, int] = {}
    for name, words in (("none", "--provenance=false"), ("max", "--provenance=mode=max")):
        result = lab.build("FROM scratch\nCOPY a /\n", f"{words} -o type=oci,dest={name}.tar", {"a": "x"})
        root = document(lab.home / f"{name}.tar", result.metadata["containerimage.digest"])
        attested = [
            one for one in root.get("manifests", []) if "vnd.docker.reference.type" in one.get("annotations", {})
        ]
        kinds[name] = len(attested)
        if name == "max":
            manifest = document(lab.home / "max.tar", attested[0]["digest"])
            statement = document(lab.home / "max.tar", manifest["layers"][0]["digest"])
            assert "llbDefinition" in json.dumps(statement)
    assert kinds == {"none": 0, "max": 1}


SCANNER = """FROM busybox
COPY --chmod=755 <<'E' /scan
#!/bin/sh
cat > $BUILDKIT_SCAN_DESTINATION/$(basename $BUILDKIT_SCAN_SOURCE).spdx.json <<J
{"predicateType": "https://spdx.dev/Document", "predicate": {"name": "$(cat $BUILDKIT_SCAN_SOURCE/what)"}}
J
E
CMD ["/scan"]
"""
"""A scanner by BuildKit's protocol: it tells what is in a file."""


@pytest.mark.parametrize("where", ["engine", "registry"])
def test_a_scanner_of_the_engine_or_of_a_registry_makes_the_sbom(
    docker: Lab, registry: Registry, where: str, tmp_path: Path
) -> None:
    name = "pybuild-test/scanner" if where == "engine" else f"{registry.host}/scanner:1"
    docker.build(SCANNER, f"-t {name} {'--push' * (where == 'registry')}")
    words = f"--sbom=generator={name} --provenance=false -o type=oci,dest=out.tar"
    result = docker.build(f"FROM scratch\nCOPY <<E /what\n{where}\nE\n", words)
    index = document(tmp_path / "out.tar", root(result))
    manifest = document(tmp_path / "out.tar", index["manifests"][1]["digest"])
    (layer,) = manifest["layers"]
    assert layer["annotations"] == {"in-toto.io/predicate-type": "https://spdx.dev/Document"}
    assert document(tmp_path / "out.tar", layer["digest"])["predicate"]["name"] == where


def test_a_scanner_that_cannot_be_pulled_is_said_to_be_one(docker: Lab) -> None:
    with pytest.raises(BuildError, match=r"nowhere.invalid/scan.*is the scanner of --sbom: name one"):
        docker.build("FROM scratch\nLABEL a=b\n", "--sbom=generator=nowhere.invalid/scan -o type=oci,dest=out.tar")


def test_an_image_has_the_same_manifests_as_one_of_buildx(docker: Lab, engine: Engine, registry: Registry) -> None:
    ours, theirs = f"{registry.host}/ours:1", f"{registry.host}/theirs:1"
    result = docker.build("FROM scratch\nCOPY a /\n", f"-t {ours} --push", {"a": "x"})
    (docker.home / "c").mkdir()
    (docker.home / "c/a").write_text("x")
    words = ("-t", theirs, "--push")
    made = engine.build_metadata(docker.home / "c", *words, dockerfile="FROM scratch\nCOPY a /\n")

    def kinds(digest: str) -> list[str]:
        root = json.loads(registry.blob_path(digest).read_bytes())
        return [
            one.get("annotations", {}).get("vnd.docker.reference.type", "image") for one in root.get("manifests", [])
        ]

    assert kinds(result.metadata["containerimage.digest"]) == kinds(made["containerimage.digest"])


def test_annotations_and_compression_reach_the_exporter(docker: Lab) -> None:
    words = "--provenance=false --annotation who=me -o type=oci,dest=out.tar,compression=zstd,force-compression=true"
    result = docker.build("FROM scratch\nCOPY a /\n", words, {"a": "x" * 100})
    manifest = document(docker.home / "out.tar", result.metadata["containerimage.digest"])
    assert manifest["annotations"]["who"] == "me"
    assert manifest["layers"][0]["mediaType"].endswith("+zstd")


def test_settings_of_run_reach_the_step(docker: Lab) -> None:
    words = "--add-host here:10.1.2.3 --shm-size 32m --ulimit nofile=77:99 --network none -o type=cacheonly --no-cache"
    dockerfile = "FROM busybox\nRUN grep here /etc/hosts; df -k /dev/shm | tail -1; ulimit -n; ip -o link | wc -l\n"
    log = "".join(docker.build(dockerfile, words).logs.values())
    assert "10.1.2.3" in log
    assert " 32768 " in log
    assert "\n77\n" in log
    assert log.rstrip().endswith("\n1")


@one_at_a_time
def test_arguments_of_build_are_what_flags_are(docker: Lab) -> None:
    result = pybuild_magic.build(
        "FROM busybox\nRUN --network=host ulimit -n | tee /limit\n",
        "-",
        outputs="type=oci,dest=out.tar",
        ulimits="nofile=55:66",
        allow="network.host",
        cache_to="type=local,dest=cache",
        attests="type=provenance,mode=min",
        provenance="mode=max",
        no_cache=True,
        builder=docker.builder,
        progress="none",
    )
    assert result.logs["[2/2] RUN --network=host ulimit -n | tee /limit"] == "55"
    assert (docker.home / "cache/index.json").exists()
    assert result.request.frontend_attrs["attest:provenance"] == "mode=max"
    assert "vnd.docker.reference.digest" in json.dumps(document(docker.home / "out.tar", root(result)))


def test_an_entitlement_that_is_not_allowed_is_refused(docker: Lab) -> None:
    dockerfile = "FROM busybox\nRUN --network=host true\n"
    with pytest.raises(BuildError, match=r"network\.host is not allowed"):
        docker.build(dockerfile, "-o type=cacheonly")
    docker.build(dockerfile, "-o type=cacheonly --allow network.host")


def test_checks_of_the_dockerfile_are_warnings_with_their_line(docker: Lab) -> None:
    result = docker.build("FROM busybox as x\nMAINTAINER me\n", "-o type=cacheonly")
    assert any("MaintainerDeprecated" in warning.short and warning.line == 2 for warning in result.warnings)


def test_history_has_the_build_and_its_log(lab: Lab) -> None:
    result = lab.build("FROM busybox\nRUN echo find me\n", "--no-cache -o type=cacheonly")
    node, _, ref = result.metadata["buildx.build.ref"].rpartition("/")
    assert node == choose(lab.builder).node
    use(lab.builder)
    try:
        table = commands.history([])
        assert isinstance(table, Table)
        row = next(row for row in table.rows if row[0] == ref[:12])
        assert row[2] == "completed"
        assert "find me" in repr(commands.history([ref[:12]]))
    finally:
        use("")


def test_a_failed_build_is_in_the_history_with_its_error(docker: Lab) -> None:
    with pytest.raises(BuildError):
        docker.build("FROM busybox\nRUN exit 5\n", "-o type=cacheonly")
    assert any(
        record.status == "error" and "exit code: 5" in record.error for record in choose("docker://").history(30)
    )


@one_at_a_time
def test_room_is_told_and_given_back(lab: Lab) -> None:
    mark = f"mark-{secrets.token_hex(8)}"
    lab.build(f"FROM busybox\nRUN --mount=type=cache,id={mark},target=/c touch /c/f\n", "--no-cache -o type=cacheonly")
    builder = use(lab.builder)
    try:
        row = next(row for row in builder.disk_usage().rows if mark in row.description)
        assert row.type == "exec.cachemount"
        assert any(row.id.startswith(shown[0]) for shown in commands.disk_usage([]).rows)
        pruned = commands.prune(["--all", "--filter", f"id=={row.id}"])
        assert [row.id.startswith(shown[0]) for shown in pruned.rows] == [True]
    finally:
        use("")


def test_builders_are_listed_with_what_they_are(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKIT_HOST", "tcp://127.0.0.1:1")
    table = commands.find("builders")
    assert table is not None
    rows = {row[0].removesuffix(" *"): row for row in table([]).rows}
    assert rows["embedded"][1:3] == ("embedded", "running")
    assert rows["default"][1:4] == ("docker", "running", engine.version.buildkit)
    assert "linux/amd64" in rows["default"][4]
    assert "cannot be reached" in rows["tcp://127.0.0.1:1"][2]
    assert choose().name == "tcp://127.0.0.1:1"


def test_use_and_the_environment_choose_the_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose().name == "embedded"
    monkeypatch.setenv("BUILDX_BUILDER", "default")
    assert (choose().name, choose().driver) == ("default", "docker")
    use("embedded")
    try:
        assert choose().name == "embedded"
        with pytest.raises(UnsupportedError, match="no builder 'defautl'"):
            use("defautl")
    finally:
        use("")
    assert choose().name == "default"


def test_calls_are_answered_by_the_daemons_front_end(lab: Lab) -> None:
    dockerfile = "# the base\nFROM busybox AS base\nARG WHO=me\nFROM base AS made\n"
    targets = lab.build(dockerfile, "--call targets").metadata
    assert [one["name"] for one in json.loads(targets["result.json"])["targets"]] == ["base", "made"]
    assert "made" in targets["result.txt"]
    outline = lab.build(dockerfile, "--call outline").metadata
    assert [one["name"] for one in json.loads(outline["result.json"])["args"]] == ["WHO"]
    check = lab.build("FROM busybox as x\n", "--check").metadata
    assert [one["ruleName"] for one in json.loads(check["result.json"])["warnings"]] == ["FromAsCasing"]


def test_a_call_about_a_broken_dockerfile_fails_as_the_build_would(docker: Lab) -> None:
    with pytest.raises(DockerfileError, match=r"on line 2: unknown instruction: RUNN"):
        docker.build("FROM busybox\nRUNN x\n", "--call targets")


def test_what_a_daemon_is_too_old_for_is_told_with_its_version(lab: Lab, engine: Engine) -> None:
    with pytest.raises(
        UnsupportedError, match=rf"BuildKit {re.escape(engine.version.buildkit)}\) does not support resource limits"
    ):
        lab.build("FROM busybox\n", "--resource memory=64m -o type=cacheonly")


def test_policies_are_not_passed_over_in_silence(docker: Lab) -> None:
    with pytest.raises(UnsupportedError, match="No builder evaluates policies"):
        docker.build("FROM busybox\n", "--policy filename=p.rego -o type=cacheonly")
