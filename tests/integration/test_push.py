"""Pushed to a real registry: what others pull, what is sent, and who may."""

from __future__ import annotations

import base64
import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from pybuild_magic.errors import BuildError
from pybuild_magic.store.fsck import fsck
from tests.services.baseimages import BaseImage, push, skopeo
from tests.services.buildkit import Engine
from tests.services.registry import PASSWORD, USERNAME, Registry

from .lab import FILES, SAYS, TWO_STAGES, Home, fetched


def log_in(host: str, password: str = PASSWORD) -> None:
    """What `docker login` leaves in config.json."""
    path = Path(os.environ["DOCKER_CONFIG"], "config.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = base64.b64encode(f"{USERNAME}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": encoded}}}))


def uploads(registry: Registry, since: int) -> list[str]:
    """Blobs that were sent: uploads that were completed with content, rather than mounted or found."""
    return [r.path for r in registry.requests()[since:] if r.method in ("PUT", "PATCH") and "/blobs/" in r.path]


def test_the_engine_and_skopeo_pull_what_was_pushed(home: Home, registry: Registry, engine: Engine, name: str) -> None:
    ref = f"{registry.host}/{name}:1"
    result = home.build(TWO_STAGES, FILES, tags=ref, push=True)
    try:
        engine.docker("pull", ref)
        assert engine.run(ref) == SAYS
    finally:
        engine.remove(ref)
    told = json.loads(skopeo("inspect", f"docker://{ref}"))
    assert told["Digest"] == result.metadata["containerimage.digest"]
    config = json.loads(skopeo("inspect", "--config", f"docker://{ref}"))
    assert config["config"]["Cmd"] == ["run"]
    steps = [v.name for v in result.vertexes if v.name.startswith("exporting")]
    assert steps == ["exporting to image"]


def test_what_is_there_is_not_sent_again(home: Home, registry: Registry, name: str) -> None:
    ref = f"{registry.host}/{name}:1"
    home.build(TWO_STAGES, FILES, tags=ref, push=True)
    assert uploads(registry, 0)
    before = len(registry.requests())
    home.build(TWO_STAGES, FILES, tags=ref, push=True)
    assert uploads(registry, before) == []
    # Not even under another tag, and of a changed image only what has changed: its config and one layer.
    home.build(TWO_STAGES, FILES, tags=f"{registry.host}/{name}:2", push=True)
    assert uploads(registry, before) == []
    home.build(TWO_STAGES + "COPY make.sh /more\n", FILES, tags=ref, push=True)
    sent = [r for r in registry.requests()[before:] if r.method == "PUT" and "/blobs/" in r.path]
    assert len(sent) == 2


def test_blobs_of_another_repository_are_mounted(
    home: Home, registry: Registry, busybox_layout: BaseImage, name: str
) -> None:
    base = push(busybox_layout, registry.host, f"{name}/base:1")
    before = len(registry.requests())
    dockerfile = f"FROM {base}\nCOPY <<E /f\nx\nE\n"
    home.build(dockerfile, tags=f"{registry.host}/{name}/one:1", push=True)
    blob = busybox_layout.manifest["layers"][0]["digest"]
    posts = [r for r in registry.requests()[before:] if r.method == "POST"]
    mounted = [r for r in posts if f"mount={blob}" in r.path.replace("%3A", ":") and r.status == 201]
    assert mounted, [r.path for r in posts]
    assert "from=" in mounted[0].path
    # What this builder has sent itself can be mounted as well.
    before = len(registry.requests())
    home.build(dockerfile, tags=f"{registry.host}/{name}/two:1", push=True)
    assert [r.method for r in registry.requests()[before:] if r.method == "PATCH"] == []
    assert skopeo("inspect", f"docker://{registry.host}/{name}/two:1")


def test_several_names_and_output_registry(home: Home, registry: Registry, name: str) -> None:
    refs = [f"{registry.host}/{name}/a:1", f"{registry.host}/{name}/b:2"]
    result = home.build("FROM busybox\nLABEL a=b\n", tags=refs, outputs="type=registry")
    digests = {json.loads(skopeo("inspect", f"docker://{ref}"))["Digest"] for ref in refs}
    assert digests == {result.metadata["containerimage.digest"]}


def test_several_platforms_are_pushed_as_one_index(home: Home, registry: Registry, name: str) -> None:
    ref = f"{registry.host}/{name}:1"
    dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY <<E /arch\n$TARGETARCH\nE\n"
    result = home.build(dockerfile, tags=ref, platforms="linux/amd64,linux/arm64", push=True)
    raw = skopeo("inspect", "--raw", f"docker://{ref}")
    index = json.loads(raw)
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    assert result.metadata["containerimage.digest"] == "sha256:" + sha256(raw.encode()).hexdigest()


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_credentials_of_dockers_config_are_used(
    home: Home, request: pytest.FixtureRequest, engine: Engine, kind: str, name: str
) -> None:
    registry: Registry = request.getfixturevalue(f"{kind}_registry")
    ref = f"{registry.host}/{name}:1"
    error = home.fails(TWO_STAGES, FILES, tags=ref, push=True)
    assert registry.host in error.message
    assert "docker login" in f"{error.message} {error.hint}"
    log_in(registry.host, "wrong")
    error = home.fails(TWO_STAGES, FILES, tags=ref, push=True)
    assert "401" in error.message or "refused" in error.message or "credentials" in error.message
    assert "wrong" not in error.render()
    log_in(registry.host)
    home.build(TWO_STAGES, FILES, tags=ref, push=True)
    with engine.logged_in(registry.host, USERNAME, PASSWORD) as env:
        engine.docker("pull", ref, env=env)
    try:
        assert engine.run(ref) == SAYS
    finally:
        engine.remove(ref)
    # And to build on it.
    home.build(f"FROM {ref}\nCOPY <<E /f\nx\nE\n", pull=True)


def test_a_pull_asks_again_and_a_stored_name_does_not(
    home: Home, registry: Registry, busybox_layout: BaseImage, name: str
) -> None:
    ref = push(busybox_layout, registry.host, f"{name}:1")
    home.build(f"FROM {ref}\nLABEL a=1\n", tags="local/one")
    home.build("FROM local/one\nLABEL b=1\n", tags=ref)  # now the store has another image of this name
    before = len(registry.requests())
    stored = home.build(f"FROM {ref}\nLABEL c=1\n", outputs="type=image")
    assert len(registry.requests()) == before
    assert stored.image is not None
    assert stored.image.config["config"]["Labels"] == {"a": "1", "b": "1", "c": "1"}
    pulled = home.build(f"FROM {ref}\nLABEL c=1\n", outputs="type=image", pull=True)
    assert pulled.image is not None
    assert pulled.image.config["config"]["Labels"] == {"c": "1"}
    assert len(registry.requests()) > before


def test_a_push_without_a_name_is_a_sentence(home: Home) -> None:
    with pytest.raises(BuildError, match="A push needs a name"):
        home.build("FROM scratch\nCOPY <<E /f\nE\n", push=True)


LINKED = "FROM {}\nCOPY --link <<E /etc/more\nmore\nE\nENV A=b\n"


@pytest.mark.parametrize("repository", ["base", "other"])
def test_a_copied_layer_on_a_base_of_the_registry_fetches_nothing_of_the_base(
    home: Home, registry: Registry, base: tuple[str, list[str]], name: str, repository: str
) -> None:
    ref, layers = base
    before = len(registry.requests())
    pushed = f"{registry.host}/{name}/{repository}:2"
    result = home.build(LINKED.format(ref), tags=pushed, push=True)
    asked = fetched(registry, before)
    assert not [path for path in asked if path.endswith(tuple(layers))], asked
    manifest = json.loads(skopeo("inspect", "--raw", f"docker://{pushed}"))
    assert [layer["digest"] for layer in manifest["layers"][:-1]] == layers
    assert len(uploads(registry, before)) == 2, "one layer and the config"
    image = result.image
    assert image is not None
    assert f"{name}/{repository}" in repr(result)
    assert result._repr_mimebundle_()
    home.builder.collector.wait()
    assert fsck(home.builder.store) == []
    assert not [path for path in fetched(registry, before) if path.endswith(tuple(layers))]
    # Who looks into the image fetches them then, and what is built next is as if they had been there all the time.
    assert [layer.digest for layer in image.layers][:2] == layers
    assert [file.path for file in image.files] == ["etc", "etc/more", "etc/one", "two"]
    whole = f"{registry.host}/{name}/whole:1"
    home.build(
        f'FROM {pushed}\nRUN --mount=from=busybox,target=/b ["/b/bin/busybox", "test", "-f", "/two"]\n', tags="more"
    )
    assert home.build(LINKED.format(ref), tags=whole, push=True).image_id == result.image_id


@pytest.mark.parametrize(
    "more", ["COPY <<E /etc/again\nE\n", "COPY --link --from=0 /two /three\n", "WORKDIR /etc/sub\n"]
)
def test_what_reads_the_base_fetches_it(
    home: Home, registry: Registry, base: tuple[str, list[str]], name: str, more: str
) -> None:
    ref, layers = base
    pushed = f"{registry.host}/{name}/out:1"
    before = len(registry.requests())
    home.build(f"FROM {ref}\nFROM {ref}\n{more}", tags=pushed, push=True)
    assert {path[-71:] for path in fetched(registry, before)} >= set(layers)
    assert json.loads(skopeo("inspect", "--raw", f"docker://{pushed}"))["layers"][0]["digest"] == layers[0]


def test_a_base_is_fetched_for_another_registry_and_for_another_compression(
    home: Home, registry: Registry, base: tuple[str, list[str]], name: str
) -> None:
    ref, layers = base
    before = len(registry.requests())
    # As far as names tell, this is a registry that has nothing of the base.
    elsewhere = registry.host.replace("127.0.0.1", "localhost")
    home.build(LINKED.format(ref), tags=f"{elsewhere}/{name}/out:1", push=True)
    assert {path[-71:] for path in fetched(registry, before)} >= set(layers)
    assert [
        layer["digest"]
        for layer in json.loads(skopeo("inspect", "--raw", f"docker://{elsewhere}/{name}/out:1"))["layers"]
    ][:2] == layers
    home.close()
    home.builder.prune(all=True)
    before = len(registry.requests())
    zstd = f"type=registry,name={registry.host}/{name}/zstd:1,compression=zstd,force-compression=true"
    home.build(LINKED.format(ref), outputs=zstd)
    assert {path[-71:] for path in fetched(registry, before)} >= set(layers)
    manifest = json.loads(skopeo("inspect", "--raw", f"docker://{registry.host}/{name}/zstd:1"))
    assert {layer["mediaType"][-5:] for layer in manifest["layers"]} == {"+zstd"}
